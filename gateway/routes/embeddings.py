"""POST /v1/embeddings: OpenAI's dialect, with Infinity's `modality` and Jina's items."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Sequence
from typing import Any

import numpy as np
from fastapi import APIRouter, Request

from clip_core.errors import BadInput, BadText, InvalidRequest, TooLarge
from gateway.bodies import Body, read_body
from gateway.encoder import Ask, Encoded, Served, check_model
from gateway.errors import JsonResponse
from gateway.inputs import InputParser, Kind, Source, renamed
from gateway.openapi import answers, takes
from gateway.schemas import EmbeddingAnswer, EmbeddingRequest
from gateway.services import services
from gateway.telemetry import current_trace

router = APIRouter(tags=["embeddings"])
_FORMATS = ("float", "base64")
_MODALITIES = ("text", "image")


@router.post("/v1/embeddings", responses=answers(EmbeddingAnswer), openapi_extra=takes(EmbeddingRequest))
async def create_embeddings(request: Request) -> JsonResponse:
    """Vectors of texts and images, in the order of `input`; one bad input fails the call and is named."""
    given = services(request)
    body = await read_body(request, given.parser)
    sources = parse_inputs(body, given.parser, given.settings.max_inputs)
    as_base64 = _choice(body, "encoding_format", _FORMATS, "float") == "base64"
    await given.encoder.require(body.get("model"))
    encoded = await given.encoder.run([Ask(source) for source in sources], truncate=_truncate(body))
    served = _served(encoded, body)
    current_trace().stages["encode"] = encoded.encode_ms
    return JsonResponse(_answer(encoded.entries(), served, as_base64))


def parse_inputs(body: Body, parser: InputParser, max_inputs: int) -> list[Source]:
    """Raises BadInput whose `param` is `input`, or `input[3]` in a list."""
    if "input" not in body and "image" in body:
        body = {**body, "input": {"image": body["image"]}}
    kind: Kind = "image" if _choice(body, "modality", _MODALITIES, "text") == "image" else "text"
    value = body.get("input")
    if not isinstance(value, list):
        return [_parse(value, "input", kind, parser)]
    if not value:
        raise InvalidRequest("`input` is an empty list", param="input")
    if len(value) > max_inputs:
        raise TooLarge(f"{len(value)} inputs in one call; at most {max_inputs}", param="input")
    if all(isinstance(token, int) for token in value):
        raise _token_ids("input")
    return [_parse(item, f"input[{place}]", kind, parser) for place, item in enumerate(value)]


def _parse(value: object, param: str, kind: Kind, parser: InputParser) -> Source:
    if isinstance(value, str):
        return parser.of_kind(kind, value, param)
    if isinstance(value, dict):
        with renamed(param):
            source = parser.source(value, param, ("text", "image"))
        return Source(source.kind, source.value, param)
    if isinstance(value, list):
        raise _token_ids(param)
    raise InvalidRequest("`input` is text, an image, or a list of these", param=param)


def _token_ids(param: str) -> BadText:
    return BadText(
        "token ids are not accepted, since they belong to another tokenizer: send the text itself "
        "(LangChain: check_embedding_ctx_length=False)",
        param=param,
    )


def _choice(body: Body, name: str, allowed: Sequence[str], default: str) -> str:
    value = body.get(name)
    if value is None:
        return default
    if value not in allowed:
        raise InvalidRequest(f"`{name}` is one of {', '.join(allowed)}", param=name)
    return str(value)


def _truncate(body: Body) -> str | None:
    """Ours is "end" or "error"; other dialects send other things under this name, which are ignored."""
    value = body.get("truncate")
    return value if value in ("end", "error") else None


def _served(encoded: Encoded, body: Body) -> Served:
    served = encoded.model()
    check_model(body.get("model"), served)
    dimensions = body.get("dimensions")
    if dimensions is not None and dimensions != served.dim:
        raise BadInput(f"{served.model!r} has {served.dim} dimensions and no others", param="dimensions")
    return served


def _answer(entries: Sequence[dict[str, Any]], served: Served, as_base64: bool) -> dict[str, Any]:
    tokens = sum(entry.get("tokens") or 0 for entry in entries)
    return {
        "object": "list",
        "data": [
            {"object": "embedding", "index": place, "embedding": _vector(entry["embedding"], as_base64), **notes(entry)}
            for place, entry in enumerate(entries)
        ],
        "model": served.model,
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    }


def notes(entry: dict[str, Any]) -> dict[str, Any]:
    """`truncated` when a text was longer than the model reads and its end was cut off; nothing otherwise."""
    return {"truncated": True} if entry.get("truncated") else {}


def _vector(encoded: str, as_base64: bool) -> Any:
    return encoded if as_base64 else floats(encoded)


def floats(encoded: str) -> np.ndarray[Any, np.dtype[np.float32]]:
    """A handler's base64 vector → (D,) float32; the handlers vouch for it, so it is not checked again."""
    return np.frombuffer(b64decode(encoded), dtype="<f4")
