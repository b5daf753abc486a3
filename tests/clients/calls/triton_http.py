"""tritonclient over HTTP: binary tensors and JSON, texts, pictures as files, pixels and pairs, errors, health."""

import numpy as np
import tritonclient.http as triton
from reference import HEADERS, PICTURE, PNG, TEXTS, URL, refused, same, vectors
from tritonclient.utils import InferenceServerException

client = triton.InferenceServerClient(URL.removeprefix("http://"))


def tensor(name: str, values: list[object], binary: bool = True) -> triton.InferInput:
    array = np.array(values, dtype=np.object_)
    made = triton.InferInput(name, array.shape, "BYTES")
    return made.set_data_from_numpy(array, binary_data=binary)


# tritonclient adds the length of the JSON to the caller's own headers, so each call gets a copy


def embedding(*inputs: triton.InferInput, **options: object) -> np.ndarray:
    return client.infer("demo", list(inputs), headers=dict(HEADERS), **options).as_numpy("EMBEDDING")


assert client.is_server_live()
assert client.is_server_ready()
assert client.is_model_ready("demo", headers=dict(HEADERS))
assert client.is_model_ready("demo", "1", headers=dict(HEADERS))
assert not client.is_model_ready("other", headers=dict(HEADERS))
assert client.get_server_metadata(headers=dict(HEADERS))["extensions"] == ["binary_tensor_data"]
dim = vectors(["a"]).shape[1]
assert client.get_model_metadata("demo", headers=dict(HEADERS))["outputs"][0]["shape"] == [-1, dim]

same(embedding(tensor("TEXT", TEXTS)), TEXTS)
same(embedding(tensor("TEXT", TEXTS, binary=False)), TEXTS)
same(embedding(tensor("TEXT", [text.encode() for text in TEXTS[:3]])), TEXTS[:3])
for binary in (True, False):
    output = [triton.InferRequestedOutput("EMBEDDING", binary_data=binary)]
    same(embedding(tensor("TEXT", ["a"]), outputs=output, request_id="7", model_version="1"), ["a"])
same(embedding(tensor("IMAGE", [PNG])), [{"image": PICTURE}])
same(embedding(tensor("IMAGE", [PICTURE], binary=False)), [{"image": PICTURE}])
file = np.frombuffer(PNG, np.uint8)
same(embedding(triton.InferInput("IMAGE", file.shape, "UINT8").set_data_from_numpy(file)), [{"image": PICTURE}])
both = vectors(["a", {"image": PICTURE}]).sum(axis=0)
pair = embedding(tensor("TEXT", ["a"]), tensor("IMAGE", [PNG]))
np.testing.assert_allclose(pair[0], both / np.linalg.norm(both), atol=1e-6)
waiting = [client.async_infer("demo", [tensor("TEXT", [text])], headers=dict(HEADERS)) for text in TEXTS[:4]]
same(np.concatenate([each.get_result().as_numpy("EMBEDDING") for each in waiting]), TEXTS[:4])

with refused(InferenceServerException, "[401]", "an API key is needed"):
    client.infer("demo", [tensor("TEXT", ["a"])])
with refused(InferenceServerException, "[400]", "TEXT[1]: "):
    embedding(tensor("TEXT", ["a", " "]))
with refused(InferenceServerException, "[400]", "INPUT0: the inputs are TEXT, IMAGE"):
    embedding(tensor("INPUT0", ["a"]))
with refused(InferenceServerException, "[404]", "'other' is not served"):
    client.get_model_metadata("other", headers=dict(HEADERS))
