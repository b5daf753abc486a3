"""The protocol's gRPC calls as calls of /v2, and the answers back. Tensors are raw bytes on the way."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson

from clip_core.errors import InvalidRequest
from gateway.kserve.binary_body import HEADER, SIZE
from gateway.kserve.rpc.in_process import HttpAnswer, HttpCall
from gateway.kserve.rpc.messages import message
from gateway.kserve.tensors import packed


@dataclass(frozen=True)
class Rpc:
    """One method: the message that it takes, the call of /v2 that this is, and the message that the answer is.

    An `unready` one answers 503 with a message, too. An `empty` message is not even read.
    """

    request: str
    call: Callable[[Any], HttpCall]
    answer: Callable[[HttpAnswer, Any], Any]
    unready: bool = False
    empty: bool = False


def _model_path(name: str, version: str, ending: str = "") -> str:
    if not name:
        raise InvalidRequest("name a model")
    return f"/v2/models/{name}" + (f"/versions/{version}" if version else "") + ending


def _infer_call(asked: Any) -> HttpCall:
    raw = _raw_contents(asked)
    head: dict[str, Any] = {
        "parameters": {**_parameters(asked.parameters), "binary_data_output": True},
        "inputs": [
            {
                "name": tensor.name,
                "datatype": tensor.datatype,
                "shape": list(tensor.shape),
                "parameters": {**_parameters(tensor.parameters), SIZE: len(content)},
            }
            for tensor, content in zip(asked.inputs, raw, strict=True)
        ],
        "outputs": [{"name": each.name, "parameters": _parameters(each.parameters)} for each in asked.outputs],
    }
    text = orjson.dumps({**head, "id": asked.id} if asked.id else head)
    headers = [(HEADER.lower().encode(), str(len(text)).encode())]
    path = _model_path(asked.model_name, asked.model_version, "/infer")
    return HttpCall("POST", path, headers, b"".join([text, *raw]))


def _raw_contents(asked: Any) -> list[bytes]:
    """Raises InvalidRequest unless there is one for each input."""
    if not asked.raw_input_contents:
        return [_raw(tensor) for tensor in asked.inputs]
    if len(asked.raw_input_contents) != len(asked.inputs):
        raise InvalidRequest("`raw_input_contents` has one entry for each input", param="raw_input_contents")
    return list(asked.raw_input_contents)


def _raw(tensor: Any) -> bytes:
    """Of other types nothing: the route refuses them."""
    if tensor.datatype == "BYTES":
        return packed(tensor.contents.bytes_contents)
    try:
        return bytes(tensor.contents.uint_contents)
    except ValueError as error:
        raise InvalidRequest("the data of UINT8 are numbers from 0 to 255", param=tensor.name) from error


def _parameters(given: Mapping[str, Any]) -> dict[str, Any]:
    chosen = {name: (value, value.WhichOneof("parameter_choice")) for name, value in given.items()}
    return {name: getattr(value, field) for name, (value, field) in chosen.items() if field}


def _infer_answer(answer: HttpAnswer, asked: Any) -> Any:
    """Raw bytes for who sent raw bytes, else numbers."""
    length = int(answer.headers[HEADER.lower()])
    said, raw = orjson.loads(answer.content[:length]), answer.content[length:]
    outputs = [{name: output[name] for name in ("name", "datatype", "shape")} for output in said["outputs"]]
    head = {"model_name": said["model_name"], "model_version": said["model_version"], "id": said.get("id", "")}
    if asked.raw_input_contents:
        return message("ModelInferResponse", **head, outputs=outputs, raw_output_contents=[raw])
    outputs[0]["contents"] = {"fp32_contents": np.frombuffer(raw, "<f4")}
    return message("ModelInferResponse", **head, outputs=outputs)


def _ready(name: str) -> Callable[[HttpAnswer, Any], Any]:
    return lambda answer, _: message(name, ready=answer.status == 200)


def _told(name: str) -> Callable[[HttpAnswer, Any], Any]:
    return lambda answer, _: message(name, **orjson.loads(answer.content))


RPCS: Mapping[str, Rpc] = {
    f"/inference.GRPCInferenceService/{name}": rpc
    for name, rpc in {
        "ServerLive": Rpc(
            "ServerLiveRequest", lambda _: HttpCall("GET", "/v2/health/live"), _told("ServerLiveResponse"), empty=True
        ),
        "ServerReady": Rpc(
            "ServerReadyRequest",
            lambda _: HttpCall("GET", "/v2/health/ready"),
            _ready("ServerReadyResponse"),
            unready=True,
            empty=True,
        ),
        "ModelReady": Rpc(
            "ModelReadyRequest",
            lambda asked: HttpCall("GET", _model_path(asked.name, asked.version, "/ready")),
            _ready("ModelReadyResponse"),
            unready=True,
        ),
        "ServerMetadata": Rpc(
            "ServerMetadataRequest", lambda _: HttpCall("GET", "/v2"), _told("ServerMetadataResponse"), empty=True
        ),
        "ModelMetadata": Rpc(
            "ModelMetadataRequest",
            lambda asked: HttpCall("GET", _model_path(asked.name, asked.version)),
            _told("ModelMetadataResponse"),
        ),
        "ModelInfer": Rpc("ModelInferRequest", _infer_call, _infer_answer),
    }.items()
}
