"""A body of /v2: JSON, and after it the raw bytes of those tensors that name their size (`binary_data_size`).

`Inference-Header-Content-Length` says how long the JSON is; without it all of the body is JSON.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard

import orjson
from starlette.responses import Response

from clip_core.errors import InvalidRequest
from gateway.kserve.tensors import InputTensor, from_json, from_raw
from gateway.schemas.inference import InferenceInput

HEADER = "Inference-Header-Content-Length"
SIZE = "binary_data_size"


def split(content: bytes, header: str | None) -> tuple[bytes, bytes]:
    """JSON and raw bytes. Raises InvalidRequest when the header's number is none, or too large."""
    if header is None:
        return content, b""
    if not (header.isascii() and header.isdigit() and int(header) <= len(content)):
        raise InvalidRequest(f"`{HEADER}` is the length of the JSON at the beginning of the body", param=HEADER)
    return content[: int(header)], content[int(header) :]


def input_tensors(inputs: Sequence[InferenceInput], raw: bytes) -> list[InputTensor]:
    """Their raw bytes follow each other. Raises InvalidRequest unless these are all of them, and no more."""
    found, start = [], 0
    for each in inputs:
        size = (each.parameters or {}).get(SIZE)
        found.append(_tensor(each, size, raw[start : start + size] if _is_size(size) else b""))
        start += size if _is_size(size) else 0
    if start != len(raw):
        raise InvalidRequest(f"the inputs' `{SIZE}` are {start} bytes together, but {len(raw)} came", param="inputs")
    return found


def _tensor(given: InferenceInput, size: object, raw: bytes) -> InputTensor:
    if "shared_memory_region" in (given.parameters or {}):
        raise InvalidRequest("shared memory is not read: send the data themselves", param=given.name)
    if size is None and given.data is not None:
        return from_json(given.name, given.datatype, given.shape, given.data)
    if not _is_size(size) or given.data is not None:
        raise InvalidRequest(
            f"an input has either `data` or the parameter `{SIZE}`, a number of bytes", param=given.name
        )
    return from_raw(given.name, given.datatype, given.shape, raw)


def _is_size(value: object) -> TypeGuard[int]:
    return type(value) is int and value >= 0


@dataclass(frozen=True)
class OutputTensor:
    """Either `raw` or `data`, which is JSON."""

    name: str
    datatype: str
    shape: Sequence[int]
    raw: bytes | None = None
    data: object = None

    def to_dict(self) -> dict[str, Any]:
        given = {"data": self.data} if self.raw is None else {"parameters": {SIZE: len(self.raw)}}
        return {"name": self.name, "datatype": self.datatype, "shape": list(self.shape), **given}


def response(head: Mapping[str, Any], outputs: Sequence[OutputTensor]) -> Response:
    """`head`: the answer's fields besides `outputs`."""
    content = orjson.dumps({**head, "outputs": [each.to_dict() for each in outputs]}, option=orjson.OPT_SERIALIZE_NUMPY)
    raw = [each.raw for each in outputs if each.raw is not None]
    if not raw:
        return Response(content, media_type="application/json")
    headers = {HEADER: str(len(content))}
    return Response(b"".join([content, *raw]), headers=headers, media_type="application/octet-stream")
