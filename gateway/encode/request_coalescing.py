"""Request coalescing: while TorchServe is busy, waiting parts of the same kind are sent as one request.

A part that comes alone is sent at once. While `in_flight` requests of its kind are under way, later parts wait, and are
sent as one request as soon as one of those is answered. So a request carries more inputs the busier TorchServe is, and
no part waits for a timer. Sources: Nagle's algorithm (RFC 896); adaptive batching in Clipper (Crankshaw et al., 2017).
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from clip_core.errors import BadInput, ClipServeError, InferenceFailed, Unavailable
from clip_core.tracing.spans import Place, enter, here
from gateway.trace import Trace, current_trace, set_current_trace
from gateway.upstream.replies import EncodeReply

Key = tuple[str, str | None, bytes]  # the endpoint, what is done with long texts, and the search
_log = logging.getLogger("gateway.encode.request_coalescing")


@dataclass(eq=False)
class _Waiter:
    part: Any
    answer: asyncio.Future[EncodeReply]
    trace: Trace
    place: Place


@dataclass
class _Lane:
    busy: int = 0
    waiting: deque[_Waiter] = field(default_factory=deque)


class RequestCoalescer:
    """Sends parts of the same `key` together. A part is one caller's inputs for one endpoint.

    It has a `key`, `bytes`, a `weight` and a length. `send` sends parts of one key as one request; the answer's `data`
    holds their entries in order.
    """

    def __init__(
        self,
        send: Callable[[Sequence[Any]], Awaitable[EncodeReply]],
        in_flight: int,
        fits: Callable[[int, int, Any], bool],
    ) -> None:
        """`fits(weight, bytes, part)` says whether `part` may join parts of that total weight and size."""
        self._send, self._in_flight, self._fits = send, in_flight, fits
        self._lanes: dict[Key, _Lane] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def answer(self, part: Any) -> EncodeReply:
        """The handler's answer, with the entries of this part only. Raises ClipServeError."""
        lane = self._lanes.setdefault(part.key, _Lane())
        if lane.busy >= self._in_flight:
            waiter = _Waiter(part, asyncio.get_running_loop().create_future(), current_trace(), here())
            lane.waiting.append(waiter)
            return await waiter.answer
        lane.busy += 1
        try:
            return await self._send([part])
        except Unavailable as error:
            _fail(lane, error)
            raise
        finally:
            self._done(part.key, lane)

    def _done(self, key: Key, lane: _Lane) -> None:
        lane.busy -= 1
        waiters = self._next(lane)
        if waiters:
            lane.busy += 1
            task = asyncio.create_task(self._send_together(key, lane, waiters))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        elif lane.busy == 0:
            del self._lanes[key]

    def _next(self, lane: _Lane) -> list[_Waiter]:
        """The waiting parts that fit into one request; parts whose callers have left are dropped."""
        taken: list[_Waiter] = []
        weight = size = 0
        while lane.waiting:
            part = lane.waiting[0].part
            if lane.waiting[0].answer.done():
                lane.waiting.popleft()
                continue
            if taken and not self._fits(weight, size, part):
                break
            taken.append(lane.waiting.popleft())
            weight, size = weight + part.weight, size + part.bytes
        return taken

    async def _send_together(self, key: Key, lane: _Lane, waiters: Sequence[_Waiter]) -> None:
        if len(waiters) > 1:
            _log.debug("shared", extra={"request_ids": [waiter.trace.request_id for waiter in waiters]})
        set_current_trace(_joint_trace([waiter.trace for waiter in waiters]))
        enter(waiters[0].place)
        try:
            await self._settle(waiters)
        except Exception as error:
            for waiter in waiters:
                _give(waiter, error)
            if isinstance(error, Unavailable):
                _fail(lane, error)
        finally:
            self._done(key, lane)

    async def _settle(self, waiters: Sequence[_Waiter]) -> None:
        """Send the parts together. If one part may be at fault, send each alone, so that only that part fails."""
        try:
            answer = await self._send([waiter.part for waiter in waiters])
        except (BadInput, InferenceFailed):
            if len(waiters) == 1:
                raise
            for waiter in waiters:
                await self._alone(waiter)
            return
        start = 0
        for waiter in waiters:
            end = start + len(waiter.part)
            _give(waiter, {**answer, "data": answer["data"][start:end]})
            start = end

    async def _alone(self, waiter: _Waiter) -> None:
        set_current_trace(_joint_trace([waiter.trace]))
        enter(waiter.place)
        try:
            _give(waiter, await self._send([waiter.part]))
        except ClipServeError as error:
            _give(waiter, error)


def _joint_trace(traces: Sequence[Trace]) -> Trace:
    """A trace with the first request's id and the latest deadline; a caller with less time stops waiting by itself."""
    deadlines = [trace.deadline for trace in traces]
    latest = None if None in deadlines else max(deadline for deadline in deadlines if deadline is not None)
    return Trace(traces[0].request_id, deadline=latest)


def _fail(lane: _Lane, error: Exception) -> None:
    """Fail all waiting parts at once: they would meet the same error later."""
    while lane.waiting:
        _give(lane.waiting.popleft(), error)


def _give(waiter: _Waiter, outcome: EncodeReply | Exception) -> None:
    """Settle the waiter's future, unless its caller has left."""
    if waiter.answer.done():
        return
    if isinstance(outcome, Exception):
        waiter.answer.set_exception(outcome)
    else:
        waiter.answer.set_result(outcome)
