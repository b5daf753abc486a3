"""The one place in the gateway that turns any failure into the envelope."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from clip_core.errors import (
    ClipServeError,
    InvalidRequest,
    MethodNotAllowed,
    NotFound,
    Overloaded,
    TooLarge,
    TooSlow,
    Unauthorized,
    Unavailable,
)
from clip_core.old_names.taking import told_as
from clip_core.tracing.spans import trace_id
from clip_core.wire import COLLECTION_NAME, COLLECTION_NAME_RULE
from gateway.key_masking import without_keys


class JsonResponse(JSONResponse):
    """JSON by orjson, which also writes numpy vectors."""

    def render(self, content: Any) -> bytes:
        return orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY)


_BY_STATUS: dict[int, type[ClipServeError]] = {404: NotFound, 405: MethodNotAllowed, 413: TooLarge}


def error_response(error: ClipServeError, headers: Mapping[str, str] | None = None) -> Response:
    """The answer for `error`: its status, its envelope without keys, and the headers that clients expect with it."""
    error.message = without_keys(error.message)
    error.param = without_keys(error.param) if error.param else error.param
    return JsonResponse(_envelope(error), status_code=error.status, headers={**_own_headers(error), **(headers or {})})


def _envelope(error: ClipServeError) -> dict[str, Any]:
    """With the id of its trace, where there is one."""
    envelope, trace = error.to_dict(), trace_id()
    return envelope if trace is None else {"error": {**envelope["error"], "trace_id": trace}}


def _own_headers(error: ClipServeError) -> dict[str, str]:
    """After a body that was refused half-read the connection ends."""
    if isinstance(error, Unauthorized):
        return {"WWW-Authenticate": "Bearer"}
    if isinstance(error, Overloaded):
        return {"Retry-After": str(max(1, math.ceil(error.retry_after)))}
    if isinstance(error, Unavailable):
        return {"Retry-After": "1"}
    return {"Connection": "close"} if isinstance(error, TooLarge | TooSlow) else {}


def install_handlers(app: FastAPI) -> None:
    """Answer every failure with the envelope; FastAPI's `{"detail": …}` never gets out."""
    app.add_exception_handler(ClipServeError, _on_error)
    app.add_exception_handler(HTTPException, _on_http)
    app.add_exception_handler(RequestValidationError, _on_validation)


async def _on_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, ClipServeError)
    return error_response(error)


async def _on_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    kind = _BY_STATUS.get(error.status_code, InvalidRequest if error.status_code < 500 else ClipServeError)
    mapped = kind(_http_message(request, error))
    mapped.status = error.status_code
    return error_response(mapped, error.headers)


def _http_message(request: Request, error: HTTPException) -> str:
    if error.status_code == 404:
        return f"there is nothing at {request.url.path}; see /docs for what there is"
    if error.status_code == 405:
        return f"{request.method} is not possible on {request.url.path}"
    return str(error.detail)


async def _on_validation(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    return error_response(invalid_request(error.errors()))


def invalid_request(problems: Sequence[Any], old: str | None = None) -> InvalidRequest:
    """pydantic's list of problems → one error that names the first field at fault; `old`: the name it is given by."""
    first = problems[0]
    param = field_path([part for part in first["loc"] if not _is_no_field(part)])
    said = "Input should be an object" if first["type"] == "model_type" else first["msg"]
    if first["type"] == "string_pattern_mismatch" and COLLECTION_NAME in said:
        said = COLLECTION_NAME_RULE
    shown = param or "the request"
    return InvalidRequest(f"{shown if old is None else told_as(shown, old)}: {said}", param=param)


def _is_no_field(part: str | int) -> bool:
    """pydantic names where a value came from, and the class that it tried of several."""
    return part in ("body", "query", "path") or (isinstance(part, str) and part[:1].isupper())


def field_path(parts: Sequence[str | int]) -> str | None:
    """["items", 3, "id"] → "items[3].id"."""
    path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in parts)
    return path.removeprefix(".") or None
