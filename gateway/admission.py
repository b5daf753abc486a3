"""Overload: what would only wait is turned away at once. Pure ASGI, before a body is read.

How many requests may be under way follows the measured queueing: of each request that a model worked on, the time not
spent in the model is waiting. While the typical wait stays below a few times the model's own time, workers are busy and
nobody waits for long; beyond it more requests under way add waiting and no throughput, so the bound shrinks by a factor
and grows back in steps (AIMD, as TCP; judged by standing delay rather than by loss, as CoDel, RFC 8289). Being a ratio,
it needs no tuning when the model is fast or slow.

Small bodies (texts) and large ones (images, batches) have a bound each, so that a flood of images turns no query away.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from clip_core.errors import Overloaded
from gateway.errors import error_response
from gateway.telemetry import Metrics, current_trace

SMALL_BODY_BYTES = 8192
_WINDOW_S = 0.1
_FEWEST = 5  # observations that a window needs before it is judged
_SHRINK, _GROW = 0.75, 1.1
_NEAR = 0.8  # a bound that is not nearly reached has no reason to grow


class Gate:
    """The bound of one kind of request: starts at what any model takes within moments, moves between least and most."""

    def __init__(
        self,
        most: int,
        *,
        start: int = 64,
        least: int = 16,
        wait_ratio: float = 1.5,
        wait_floor_s: float = 0.05,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """A wait is tolerated up to `wait_ratio` times the work plus `wait_floor_s`, for what is no queueing."""
        self.limit: float = min(start, most)
        self.under_way = 0
        self._most, self._least = most, min(least, most)
        self._ratio, self._floor_s = wait_ratio, wait_floor_s
        self._clock = clock
        self._window_ends = 0.0
        self._busiest = 0
        self._seen: list[tuple[float, float]] = []

    def enter(self) -> bool:
        """False when there are enough already; True must be followed by `leave`."""
        if self.under_way >= int(self.limit):
            self._busiest = self.under_way
            return False
        self.under_way += 1
        self._busiest = max(self._busiest, self.under_way)
        return True

    def leave(self, waited_s: float = 0.0, worked_s: float | None = None) -> None:
        """`worked_s` is None for a request that no model worked on, which says nothing about queueing."""
        self.under_way -= 1
        if worked_s is not None:
            self._seen.append((waited_s, worked_s))
            self._judge(self._clock())

    def _judge(self, now: float) -> None:
        """Once in the time that a request takes, so that each verdict is about requests let in after the last one."""
        if now < self._window_ends or len(self._seen) < _FEWEST:
            return
        waited = statistics.median(waited for waited, _ in self._seen)
        worked = statistics.median(worked for _, worked in self._seen)
        if waited > self._ratio * worked + self._floor_s:
            self.limit = max(self._least, self.limit * _SHRINK)
        elif self._busiest >= _NEAR * int(self.limit):
            self.limit = min(self._most, self.limit * _GROW)
        self._window_ends = now + max(_WINDOW_S, waited + worked)
        self._busiest = self.under_way
        self._seen.clear()


class AdmissionMiddleware:
    """Answers 429 `overloaded` with Retry-After to what its gate does not let in."""

    def __init__(self, app: ASGIApp, metrics: Metrics, most: int) -> None:
        self.app = app
        self.metrics = metrics
        self.gates = {"small": Gate(most), "large": Gate(most)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "POST":
            await self.app(scope, receive, send)
            return
        kind = body_kind(Headers(scope=scope))
        gate = self.gates[kind]
        if gate.enter():
            await self._admitted(gate, scope, receive, send)
            return
        self.metrics.shed.labels(kind).inc()
        await error_response(Overloaded("too much is under way; try again in a moment"))(scope, receive, send)

    async def _admitted(self, gate: Gate, scope: Scope, receive: Receive, send: Send) -> None:
        trace = current_trace()
        try:
            await self.app(scope, receive, send)
        finally:
            gate.leave(trace.waited_ms / 1e3, None if trace.worked_ms is None else trace.worked_ms / 1e3)


def body_kind(headers: Headers) -> str:
    """small or large, by the declared length; a body without one may be anything."""
    length = headers.get("content-length", "")
    return "small" if length.isdigit() and int(length) <= SMALL_BODY_BYTES else "large"
