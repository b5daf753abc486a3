"""JSON answers, and the one place that turns failures into the envelope."""

from __future__ import annotations

from typing import Any

import orjson
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from clip_core.errors import ClipServeError, InvalidRequest, MethodNotAllowed, NotFound, Overloaded, Unavailable
from clip_core.tracing.spans import trace_id


def json_answer(content: Any, status: int = 200) -> Response:
    """JSON by orjson, which also writes float32 scores and the metadata's JSON text as it is."""
    body = orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY)
    return Response(body, status, media_type="application/json")


def error_answer(error: ClipServeError) -> Response:
    """The answer for `error`: its status and its envelope."""
    envelope, trace = error.to_dict(), trace_id()
    if trace is not None:
        envelope["error"]["trace_id"] = trace
    answer = json_answer(envelope, error.status)
    if isinstance(error, (Unavailable, Overloaded)):
        answer.headers["Retry-After"] = "1"
    return answer


async def on_error(_: Request, error: Exception) -> Response:
    """The exception handler of the whole tree."""
    assert isinstance(error, ClipServeError)
    return error_answer(error)


async def on_http(request: Request, error: Exception) -> Response:
    """What the router itself raises: 404 and 405."""
    assert isinstance(error, HTTPException)
    if error.status_code == 404:
        return error_answer(NotFound(f"there is nothing at {request.url.path}"))
    if error.status_code == 405:
        answer = error_answer(MethodNotAllowed(f"{request.method} is not possible on {request.url.path}"))
        answer.headers.update(error.headers or {})
        return answer
    mapped = InvalidRequest(str(error.detail))
    mapped.status = error.status_code
    return error_answer(mapped)
