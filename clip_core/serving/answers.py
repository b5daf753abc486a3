"""What was encoded or found → the bytes of each request's answer, in our JSON or in KServe v2."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Any

import orjson

from clip_core.encode.encoded import Encoded
from clip_core.errors import BadInput, ClipServeError, InferenceFailed, Overloaded, TooLarge
from clip_core.inputs.request import Request
from clip_core.model_spec import ModelSpec
from clip_core.tracing.trace_context import Callers
from clip_core.wire import Neighbours, encode_vector

FACTS = ("context_length", "precision", "licence", "source", "revision", "weights_sha256")
"""Of a spec, told to who asks to `describe`."""
_ALWAYS = ("matryoshka_dimensions", "logit_scale", "logit_bias")
"""Of a spec, told in every answer if it says them."""
_INPUTS = ("text", "image", "vector", "query", "input")
_OWN = (BadInput, TooLarge, InferenceFailed)


@dataclass(frozen=True)
class InputResult:
    """One item's outcome: its vector, and its neighbours when the request asked for a search."""

    encoded: Encoded
    found: Neighbours | None = None


@dataclass(frozen=True)
class Answer:
    """`codes`: the error code of the request, or of each of its items that failed."""

    status: int
    body: bytes
    codes: tuple[str, ...] = ()


def failure(error: ClipServeError) -> Answer:
    """The envelope, with the status inside too: gRPC drops the one outside."""
    return Answer(error.status, orjson.dumps({**error.to_dict(), "status": error.status}), (error.code,))


def with_trace(answer: Answer, callers: Callers) -> Answer:
    """A failure names the trace of its first caller, as those of the other processes do."""
    if answer.status < HTTPStatus.BAD_REQUEST or not callers.contexts:
        return answer
    body = orjson.loads(answer.body)
    body["error"]["trace_id"] = callers.contexts[0].trace
    return replace(answer, body=orjson.dumps(body))


def bounded(answers: Sequence[Answer], most_bytes: int) -> list[Answer]:
    """The same answers, without the largest where all together have more bytes.

    TorchServe's time for a batch's answers grows with the square of their sum, and ends in the worker's death.
    """
    excess = sum(len(answer.body) for answer in answers) - most_bytes
    kept = list(answers)
    by_size = sorted(range(len(kept)), key=lambda i: -len(kept[i].body)) if excess > 0 else []
    for i in by_size:
        if excess <= 0:
            break
        excess -= len(kept[i].body)
        kept[i] = failure(_too_large(len(kept[i].body), most_bytes))
    return kept


def _too_large(size: int, most_bytes: int) -> ClipServeError:
    advice = 'lower `k`, leave "vector" out of `include`, or send fewer inputs in a request'
    if size > most_bytes:
        return TooLarge(f"the answer has {size / 1e6:.1f} MB, the limit is {most_bytes / 1e6:.1f} MB: {advice}")
    return Overloaded(f"other answers took the room of this one, which has {size / 1e6:.1f} MB: try again, or {advice}")


def render(
    request: Request, results: Sequence[InputResult | ClipServeError], spec: ModelSpec, timing: Mapping[str, float]
) -> Answer:
    """A list answers 200 with a status for each item; a lone input that fails is the request's failure."""
    errors = [result for result in results if isinstance(result, ClipServeError)]
    if errors and (request.single or request.v2):
        return failure(_placed(results, request))
    if request.v2:
        return _render_v2(request, [result for result in results if isinstance(result, InputResult)], spec)
    data = [_item(index, result, request) for index, result in enumerate(results)]
    head: dict[str, Any] = {"model": spec.name, "fingerprint": spec.fingerprint, "dim": spec.dim}
    head |= {name: value for name in _ALWAYS if (value := getattr(spec, name)) not in (None, ())}
    if request.described:
        head["facts"] = {name: getattr(spec, name) for name in FACTS}
    codes = tuple(error.code for error in errors)
    return Answer(200, orjson.dumps({**head, "data": data, "timing": timing}), codes)


def _placed(results: Sequence[InputResult | ClipServeError], request: Request) -> ClipServeError:
    """The first error; of a KServe v2 request it names its element, if the fault is the element's own."""
    place, error = next((i, result) for i, result in enumerate(results) if isinstance(result, ClipServeError))
    if not request.v2 or not (error.param in _INPUTS or (error.param is None and isinstance(error, _OWN))):
        return error
    placed = copy.copy(error)
    placed.param = request.places[place]
    return placed


def _item(index: int, result: InputResult | ClipServeError, request: Request) -> dict[str, Any]:
    if isinstance(result, ClipServeError):
        return {"index": index, "status": result.status, **result.to_dict()}
    item: dict[str, Any] = {"index": index, "status": 200}
    if result.found is not None:
        item |= _searched(result.found)
    elif request.encoding_format == "base64":
        item["embedding"] = encode_vector(result.encoded.vector)
    else:
        item["embedding"] = result.encoded.vector.tolist()
    if result.encoded.tokens is not None:
        item |= {"tokens": result.encoded.tokens, "truncated": result.encoded.truncated}
    return item


def _searched(found: Neighbours) -> dict[str, Any]:
    return {
        "hits": orjson.Fragment(found.hits),
        **({} if found.certificate is None else {"certificate": found.certificate}),
    }


def _render_v2(request: Request, results: Sequence[InputResult], spec: ModelSpec) -> Answer:
    if request.search is not None:
        found = [result.found for result in results if result.found is not None]
        outputs = [_texts("hits", [one.hits for one in found])]
        if any(one.certificate for one in found):
            outputs.append(_texts("certificate", [orjson.dumps(one.certificate) for one in found]))
    else:
        flat = [x for result in results for x in result.encoded.vector.tolist()]
        outputs = [{"name": "embedding", "datatype": "FP32", "shape": [len(results), spec.dim], "data": flat}]
    body = {
        "id": request.v2_id,
        "model_name": spec.name,
        "parameters": {"fingerprint": spec.fingerprint},
        "outputs": outputs,
    }
    return Answer(200, orjson.dumps({key: value for key, value in body.items() if value is not None}))


def _texts(name: str, values: Sequence[bytes]) -> dict[str, Any]:
    """A KServe v2 output of JSON texts."""
    return {"name": name, "datatype": "BYTES", "shape": [len(values)], "data": [value.decode() for value in values]}
