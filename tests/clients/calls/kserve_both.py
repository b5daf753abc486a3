"""kserve's own clients, over HTTP and over gRPC."""

import asyncio

import httpx
import numpy as np
from kserve import InferenceGRPCClient, InferenceRESTClient, InferInput, InferRequest, RESTConfig
from kserve.protocol.infer_type import RequestedOutput
from reference import GRPC, HEADERS, KEY, PICTURE, PNG, TEXTS, URL, refused, same


def request(name: str, values: list[object], binary: bool = True, **fields: object) -> InferRequest:
    tensor = InferInput(name, [len(values)], "BYTES")
    tensor.set_data_from_numpy(np.array(values, dtype=np.object_), binary_data=binary)
    return InferRequest(model_name="demo", infer_inputs=[tensor], **fields)


def embedding(answer: object) -> np.ndarray:
    return answer.outputs[0].as_numpy()


async def over_http() -> None:
    client = InferenceRESTClient(RESTConfig(protocol="v2"))
    assert await client.is_server_live(URL)
    assert await client.is_server_ready(URL)
    assert await client.is_model_ready(URL, "demo", headers=HEADERS)
    assert not await client.is_model_ready(URL, "other", headers=HEADERS)
    for binary in (True, False):
        output = RequestedOutput("EMBEDDING", {"binary_data": binary})
        asked = request("TEXT", TEXTS, binary, request_outputs=[output])
        same(embedding(await client.infer(URL, asked, "demo", headers=dict(HEADERS))), TEXTS)
    asked = request("IMAGE", [PNG], parameters={"binary_data_output": True})
    same(embedding(await client.infer(URL, asked, "demo", headers=dict(HEADERS))), [{"image": PICTURE}])
    with refused(httpx.HTTPStatusError, "TEXT[0]: the text is empty", "400"):
        await client.infer(URL, request("TEXT", [" "]), "demo", headers=dict(HEADERS))


async def over_grpc() -> None:
    client = InferenceGRPCClient(GRPC)
    headers = (("authorization", f"Bearer {KEY}"),)
    assert await client.is_server_live()
    assert await client.is_server_ready()
    assert await client.is_model_ready("demo", headers=headers)
    same(embedding(await client.infer(request("TEXT", TEXTS), headers=headers)), TEXTS)
    same(embedding(await client.infer(request("IMAGE", [PNG]), headers=headers)), [{"image": PICTURE}])
    await client.close()


asyncio.run(over_http())
asyncio.run(over_grpc())
