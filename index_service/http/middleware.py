"""Around every request: the check of its caller, its id, the limit on its body, a log line, a metric, the envelope."""

from __future__ import annotations

import asyncio
import logging
import re
import time
import uuid
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from clip_core.errors import BadInput, ClipServeError, ShuttingDown, TooLarge
from clip_core.tracing.spans import Place, Span, begin, enter, leave, trace_id
from clip_core.tracing.trace_context import read_traceparent
from index_service.http.answers import error_answer
from index_service.http.callers import CallerCheck
from index_service.metrics.metrics import IndexMetrics

_log = logging.getLogger("index_service.access")
_STOPS = "the index service is stopping and had no time left for this request: send it again in a moment"
_PROBES = frozenset(("/healthz", "/readyz", "/metrics"))
_GOOD_ID = re.compile(r"[\x21-\x7e]{1,128}")


def clean_id(value: object) -> str | None:
    """A request id as it may be logged: printable ASCII without spaces, at most 128 characters; else None."""
    return value if isinstance(value, str) and _GOOD_ID.fullmatch(value) else None


class RequestMiddleware:
    """Pure ASGI. What a route wants in the log line, it puts into `scope["state"]["log"]`.

    The line is written after the answer: uvloop sends what was written when the callbacks of a round are done.
    """

    def __init__(self, app: ASGIApp, max_body_bytes: int, callers: CallerCheck, metrics: IndexMetrics) -> None:
        self.app = app
        self.max_body_bytes = max_body_bytes
        self.callers = callers
        self.metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = time.perf_counter()
        headers = dict(scope["headers"])
        request_id = clean_id(headers.get(b"x-request-id", b"").decode("latin-1")) or uuid.uuid4().hex
        fields: dict[str, Any] = {"request_id": request_id}
        scope.setdefault("state", {})["log"] = fields
        answer = _Answer(send, request_id)
        place = _begun(scope["path"], headers)
        token = enter(place)
        try:
            self.callers.check(scope["path"], scope["headers"], headers)
            self._check_length(headers.get(b"content-length"))
            await self.app(scope, self._limited(receive), answer.send)
        except asyncio.CancelledError:
            await _answer_failure(ShuttingDown(_STOPS), answer, scope, receive, request_id)
        except Exception as error:
            await _answer_failure(error, answer, scope, receive, request_id)
        seconds = time.perf_counter() - started
        route = getattr(scope.get("endpoint"), "__name__", "none")
        self.metrics.requests.labels(route, str(answer.status)).inc()
        asyncio.get_running_loop().call_soon(_report, scope, answer.status, seconds, fields)
        if scope["path"] not in _PROBES:
            self.metrics.slowest.add(seconds * 1e3, lambda: _told(scope, answer.status, route, fields))
        leave(token)
        if isinstance(place, Span):
            _end(place, scope, answer.status, route, request_id)

    def _check_length(self, length: bytes | None) -> None:
        if length is not None:
            if not length.isdigit() or len(length) > 18:
                raise BadInput("the header Content-Length is not a number")
            self._check_size(int(length))

    def _check_size(self, size: int) -> None:
        if size > self.max_body_bytes:
            raise TooLarge(f"the body is larger than {self.max_body_bytes} bytes")

    def _limited(self, receive: Receive) -> Receive:
        size = 0

        async def limited() -> Message:
            nonlocal size
            message = await receive()
            size += len(message.get("body", b""))
            self._check_size(size)
            return message

        return limited


def _begun(path: str, headers: dict[bytes, bytes]) -> Place:
    """Nothing for a probe, which would fill the traces."""
    if path in _PROBES:
        return None
    return begin("request", read_traceparent(headers.get(b"traceparent", b"").decode("latin-1")), kind="server")


def _end(span: Span, scope: Scope, status: int, route: str, request_id: str) -> None:
    """After the answer, as the log line is."""
    span.name = f"{scope['method']} {route}"
    span.attributes |= {
        "http.request.method": scope["method"],
        "http.route": route,
        "http.response.status_code": status,
        "clipserve.request_id": request_id,
    }
    if status >= 500:
        span.fail(str(status))
    span.end()


def _told(scope: Scope, status: int, route: str, fields: dict[str, Any]) -> dict[str, Any]:
    """Of a slow request: no path, which may hold an item's id, and not the ids of all searches in it."""
    known = {name: value for name, value in fields.items() if name != "request_ids"}
    return {"method": scope["method"], "route": route, "status": status, "trace_id": trace_id(), **known}


def _report(scope: Scope, status: int, seconds: float, fields: dict[str, Any]) -> None:
    path = scope.get("raw_path", b"").decode("ascii", "replace")
    line = {"method": scope["method"], "path": path, "status": status, "ms": round(seconds * 1e3, 3)}
    _log.info("request", extra={**line, **fields})


class _Answer:
    """The answer as it goes out: adds the request id, notes the status."""

    def __init__(self, send: Send, request_id: str) -> None:
        self.status = 0
        self._send = send
        self._header = (b"x-request-id", request_id.encode())

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message["headers"] = [*message.get("headers", ()), self._header]
        await self._send(message)


async def _answer_failure(error: Exception, answer: _Answer, scope: Scope, receive: Receive, request_id: str) -> None:
    if not isinstance(error, ClipServeError):
        _log.error("unexpected failure", exc_info=error, extra={"request_id": request_id})
        error = ClipServeError("something went wrong in the index service; its log has the request id")
    if answer.status == 0:
        await error_answer(error)(scope, receive, answer.send)
