"""One inference: tensors in, the tensor EMBEDDING out, in the form that the caller asks for."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import numpy as np
import orjson
import pybase64
from starlette.responses import Response

from clip_core.errors import InvalidRequest
from gateway.encode.embedding import Embedded, floats
from gateway.kserve.binary_body import OutputTensor, response
from gateway.schemas.inference import InferenceRequest, RequestedOutput

OUTPUT = "EMBEDDING"
VERSION = "1"  # the only one of each model: a model that is swapped keeps its name, and callers find it there
_ROWS_AT_ONCE = 64


def wants_binary(asked: InferenceRequest) -> bool:
    """Whether EMBEDDING shall be raw bytes. Raises InvalidRequest for outputs that there are not."""
    whole = bool((asked.parameters or {}).get("binary_data_output"))
    choices = [_binary(output, whole) for output in asked.outputs or ()]
    return choices[-1] if choices else whole


def _binary(output: RequestedOutput, whole: bool) -> bool:
    parameters = output.parameters or {}
    if output.name != OUTPUT:
        raise InvalidRequest(f"the only output is {OUTPUT}, not {output.name[:64]!r}", param="outputs")
    refused = next((name for name in ("classification", "shared_memory_region") if parameters.get(name)), None)
    if refused is not None:
        raise InvalidRequest(f"`{refused}` is not possible here: {OUTPUT} is sent as it is", param="outputs")
    return bool(parameters.get("binary_data", whole))


async def answered(embedded: Embedded, asked: InferenceRequest, binary: bool) -> Response:
    """EMBEDDING has the shape (n, dim)."""
    head: dict[str, Any] = {"model_name": embedded.served.model, "model_version": VERSION}
    if asked.id is not None:
        head["id"] = asked.id
    raw = b"".join(map(pybase64.b64decode, embedded.vectors)) if binary else None
    shape = (len(embedded.vectors), floats(embedded.vectors[0]).size)
    data = None if binary else await _flat(embedded.vectors)
    return response(head, [OutputTensor(OUTPUT, "FP32", shape, raw, data)])


async def _flat(vectors: Sequence[str]) -> orjson.Fragment:
    """All numbers in one JSON list, written a few rows at a time, so that other requests run in between."""
    pieces = []
    for start in range(0, len(vectors), _ROWS_AT_ONCE):
        rows = np.concatenate([floats(vector) for vector in vectors[start : start + _ROWS_AT_ONCE]])
        pieces.append(orjson.dumps(rows, option=orjson.OPT_SERIALIZE_NUMPY)[1:-1])
        await asyncio.sleep(0)
    return orjson.Fragment(b"[" + b",".join(pieces) + b"]")
