"""tritonclient over gRPC: the same, and a deadline."""

import numpy as np
import tritonclient.grpc as triton
from reference import GRPC, HEADERS, PICTURE, PNG, TEXTS, refused, same, vectors
from tritonclient.utils import InferenceServerException

client = triton.InferenceServerClient(GRPC)


def tensor(name: str, values: list[object]) -> triton.InferInput:
    array = np.array(values, dtype=np.object_)
    return triton.InferInput(name, array.shape, "BYTES").set_data_from_numpy(array)


def embedding(*inputs: triton.InferInput, **options: object) -> np.ndarray:
    return client.infer("demo", list(inputs), headers=HEADERS, **options).as_numpy("EMBEDDING")


assert client.is_server_live()
assert client.is_server_ready()
assert client.is_model_ready("demo", headers=HEADERS)
assert client.get_server_metadata(headers=HEADERS).name == "clipserve"
assert list(client.get_model_metadata("demo", headers=HEADERS).outputs[0].shape) == [-1, vectors(["a"]).shape[1]]

same(embedding(tensor("TEXT", TEXTS)), TEXTS)
output = [triton.InferRequestedOutput("EMBEDDING")]
answer = client.infer("demo", [tensor("TEXT", ["a"])], "1", output, request_id="7", headers=HEADERS)
same(answer.as_numpy("EMBEDDING"), ["a"])
assert answer.get_response().id == "7"
same(embedding(tensor("IMAGE", [PNG])), [{"image": PICTURE}])
both = vectors(["a", {"image": PICTURE}]).sum(axis=0)
pair = embedding(tensor("TEXT", ["a"]), tensor("IMAGE", [PNG]), client_timeout=30)
np.testing.assert_allclose(pair[0], both / np.linalg.norm(both), atol=1e-6)

with refused(InferenceServerException, "StatusCode.UNAUTHENTICATED", "an API key is needed"):
    client.infer("demo", [tensor("TEXT", ["a"])])
with refused(InferenceServerException, "StatusCode.INVALID_ARGUMENT", "TEXT[1]: "):
    embedding(tensor("TEXT", ["a", " "]))
with refused(InferenceServerException, "StatusCode.NOT_FOUND", "'other' is not served"):
    client.get_model_metadata("other", headers=HEADERS)
with refused(InferenceServerException, "StatusCode.UNIMPLEMENTED", ""):
    client.get_model_config("demo", headers=HEADERS)
