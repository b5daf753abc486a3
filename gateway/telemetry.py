"""What every request leaves behind: its id, one log line, Server-Timing, and metrics. Pure ASGI."""

from __future__ import annotations

import logging
import re
import time
import uuid
from contextvars import ContextVar
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from clip_core.errors import ClipServeError
from gateway.errors import error_response

_log = logging.getLogger("gateway.access")
_GOOD_ID = re.compile(r"[\x21-\x7e]{1,128}")
_QUIET = {"/healthz", "/readyz", "/metrics"}
_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


@dataclass
class Trace:
    """One request as it goes through; `stages` holds milliseconds by name, `headers` go into the answer.

    `deadline` is on the clock of time.monotonic(); None: no other than the gateway's own timeouts. `caller` is whose
    limits and place in a queue it shares: a key or an address; empty for work that no request waits for. A patient one
    may wait for its turn as long as it takes: it is a stream, of which a part is done.
    """

    request_id: str = ""
    started: float = field(default_factory=time.perf_counter)
    stages: dict[str, float] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    deadline: float | None = None
    caller: str = ""
    patient: bool = False

    def seconds_left(self) -> float | None:
        """Until the deadline, which may be past; None without one."""
        return None if self.deadline is None else self.deadline - time.monotonic()

    def elapsed_ms(self) -> float:
        return (time.perf_counter() - self.started) * 1e3

    def server_timing(self) -> str:
        stages = {**self.stages, "total": self.elapsed_ms()}
        return ", ".join(f"{name};dur={ms:.2f}" for name, ms in stages.items())


_current: ContextVar[Trace] = ContextVar("gateway_trace")


def current_trace() -> Trace:
    """The request being answered; outside of any, a fresh Trace without an id."""
    return _current.get(None) or Trace()


def set_current_trace(trace: Trace) -> None:
    """For the rest of this task: work that is done for several requests at once has a trace of its own."""
    _current.set(trace)


def request_id_of(headers: Headers) -> str:
    """The caller's X-Request-Id if it is printable ASCII of at most 128 characters, else a new one."""
    given = headers.get("x-request-id", "")
    return given if _GOOD_ID.fullmatch(given) else uuid.uuid4().hex


class Metrics:
    """The gateway's Prometheus metrics, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "clipserve_gateway_requests_total",
            "Requests answered.",
            ["method", "route", "status"],
            registry=self.registry,
        )
        self.seconds = Histogram(
            "clipserve_gateway_request_seconds",
            "Time to answer a request.",
            ["route"],
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self.shed = Counter(
            "clipserve_gateway_shed_total",
            "Calls turned away because too much was under way, by TorchServe endpoint.",
            ["endpoint"],
            registry=self.registry,
        )
        self.counted_alone = Counter(
            "clipserve_gateway_limits_counted_alone_total",
            "Checks of a key's limits that this replica made by itself because Redis did not answer.",
            registry=self.registry,
        )
        self.in_flight = Gauge(
            "clipserve_gateway_requests_in_flight", "Requests being answered.", registry=self.registry
        )

    def observe(self, method: str, route: str, status: int, seconds: float) -> None:
        self.requests.labels(method, route, str(status)).inc()
        self.seconds.labels(route).observe(seconds)


class TelemetryMiddleware:
    """The outermost layer: gives the request its Trace, and turns an unforeseen exception into a 500 envelope."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self.app = app
        self.metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        trace = Trace(request_id_of(Headers(scope=scope)))
        token = _current.set(trace)
        answer = _Answer(send, trace)
        try:
            with self.metrics.in_flight.track_inprogress():
                await self._run(scope, receive, answer)
        finally:
            _current.reset(token)
            self._record(scope, trace, answer.status)

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

    def _record(self, scope: Scope, trace: Trace, status: int) -> None:
        milliseconds = trace.elapsed_ms()
        route = getattr(scope.get("route"), "path", "unmatched")
        self.metrics.observe(_method(scope), route, status, milliseconds / 1e3)
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


def _method(scope: Scope) -> str:
    method: str = scope["method"]
    known = ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH")
    return method if method in known else "OTHER"  # anything may be sent, and each label value stays in memory


def _path(scope: Scope) -> str:
    """The path still percent-encoded, so that no control character reaches the log."""
    raw: bytes = scope.get("raw_path") or b""
    return raw.decode("ascii", "backslashreplace")
