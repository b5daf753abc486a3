"""Gives each request a trace, logs one line about it, counts it, and adds the headers of every answer. Pure ASGI."""

from __future__ import annotations

import logging
import time
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from clip_core.errors import ClipServeError
from clip_core.tracing.spans import Place, Span, begin, enter, leave, trace_id
from clip_core.tracing.trace_context import TraceContext, read_traceparent
from gateway.errors import error_response
from gateway.key_masking import without_keys
from gateway.metrics import GatewayMetrics
from gateway.middleware.allowed_hosts import PROBES
from gateway.middleware.route_names import UNMATCHED, RouteNames
from gateway.trace import Trace, request_id_of, reset_current_trace, set_current_trace

_log = logging.getLogger("gateway.access")
_QUIET = PROBES
_LOOKING = ("/v1/stats", "/dashboard", "/ui/")  # asking for the slowest requests must not change them


class TelemetryMiddleware:
    """The outermost layer. It also turns an unforeseen exception into a 500 with the error envelope."""

    def __init__(self, app: ASGIApp, metrics: GatewayMetrics) -> None:
        self.app = app
        self.metrics = metrics
        self._routes = RouteNames()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        trace, place = Trace(request_id_of(headers)), _begun(scope, headers)
        token, placed = set_current_trace(trace), enter(place)
        answer = _Answer(send, trace)
        try:
            with self.metrics.in_flight.track_inprogress():
                await self._run(scope, receive, answer)
        finally:
            reset_current_trace(token)
            route = self._routes.of(scope)
            self._record(scope, route, trace, answer.status, place)
            leave(placed)
            if isinstance(place, Span):
                _end(place, scope, route, trace, answer.status)

    async def _run(self, scope: Scope, receive: Receive, answer: _Answer) -> None:
        try:
            await self.app(scope, receive, answer)
        except ClientDisconnect:
            return
        except Exception:
            _log.exception("unforeseen failure", extra={"request_id": answer.trace.request_id})
            if answer.started:
                raise
            failed = ClipServeError("the gateway failed on this request; its log has the details")
            await error_response(failed)(scope, receive, answer)

    def _record(self, scope: Scope, route: str, trace: Trace, status: int, place: Place) -> None:
        milliseconds = trace.elapsed_ms()
        recorded = place.context.trace if isinstance(place, Span) else None
        self.metrics.observe(_method(scope), route, status, milliseconds / 1e3, recorded)
        if route not in _QUIET and not route.startswith(_LOOKING):
            self.metrics.slowest.add(milliseconds, lambda: _told(scope, trace, status, route))
        level = logging.DEBUG if route in _QUIET else logging.INFO
        if _log.isEnabledFor(level):
            fields = {"method": scope["method"], "path": _path(scope), "status": status}
            extra = {**fields, "ms": round(milliseconds, 2), "request_id": trace.request_id}
            _log.log(level, "request", extra=extra)


class _Answer:
    """The `send` of one request: notes the status, and adds the headers that every answer carries."""

    def __init__(self, send: Send, trace: Trace) -> None:
        self.send = send
        self.trace = trace
        self.started = False
        self.status = 499  # what the log says when the client left before an answer (nginx's convention)

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.started = True
            self.status = message["status"]
            headers = MutableHeaders(scope=message)
            headers["X-Request-Id"] = self.trace.request_id
            headers["Server-Timing"] = self.trace.server_timing()
            headers["X-Content-Type-Options"] = "nosniff"
            headers.update(self.trace.headers)
        await self.send(message)


def _begun(scope: Scope, headers: Headers) -> Place:
    """Nothing for a probe, which would fill the traces."""
    return None if scope["path"] in _QUIET else begin("request", _caller(headers), kind="server")


def _caller(headers: Headers) -> TraceContext | None:
    """What says two things says none."""
    if "traceparent" not in headers:
        return None
    given = headers.getlist("traceparent")
    return read_traceparent(given[0]) if len(given) == 1 else None


def _end(span: Span, scope: Scope, route: str, trace: Trace, status: int) -> None:
    """Named as OpenTelemetry's HTTP conventions say."""
    known, method = None if route == UNMATCHED else route, _method(scope)
    span.name = f"{method} {known}" if known else method
    span.attributes |= {
        "http.request.method": method,
        "http.route": known,
        "url.path": _path(scope),
        "http.response.status_code": status,
        "clipserve.request_id": trace.request_id,
    }
    if status >= 500:
        span.fail(str(status))
    now = time.time_ns()
    if span.waited_ns:
        span.child("answer", started_ns=span.waited_ns).end(now)
    span.end(now)


def _told(scope: Scope, trace: Trace, status: int, route: str) -> dict[str, Any]:
    """Of a slow request: no path, which may hold an item's id."""
    return {
        "method": _method(scope),
        "route": route,
        "status": status,
        "request_id": trace.request_id,
        "trace_id": trace_id(),
        "stages": {name: round(ms, 2) for name, ms in trace.stages.items()},
    }


def _method(scope: Scope) -> str:
    method: str = scope["method"]
    known = ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH")
    return method if method in known else "OTHER"  # anything may be sent, and each label value stays in memory


def _path(scope: Scope) -> str:
    """The path still percent-encoded, so that no control character reaches the log; without keys."""
    raw: bytes = scope.get("raw_path") or b""
    return without_keys(raw.decode("ascii", "backslashreplace"))
