"""How many bytes the answers that are under way at one TorchServe endpoint may have together, but for small ones.

TorchServe's time for a batch's answers grows with the square of their sum
(docs/decisions/051-bounded-answers.md). So requests that expect large answers take turns before they are admitted.
Callers share the room fairly (`FairQueue`). A request that has waited `wait_s` seconds is refused, unless its call is
patient or another request of its call had a turn already.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial

from clip_core.errors import Overloaded
from gateway.admission.queued_request import AdmissionCall, Answer, QueuedRequest, wait_in_queue
from gateway.fair_queue import FairQueue

_SMALL = 1 / 16  # of a request's answer
_OLDEST_FIRST = float("-inf")


class AnswerRoom:
    """Room for as many `requests` with answers of `request_bytes`."""

    def __init__(
        self, request_bytes: int, requests: int, wait_s: float, on_refused: Callable[[], None] = lambda: None
    ) -> None:
        self._most, self._small = request_bytes * requests, request_bytes * _SMALL
        self._wait_s, self._on_refused = wait_s, on_refused
        self._taken = 0
        self._queue: FairQueue[QueuedRequest] = FairQueue()
        self._next: QueuedRequest | None = None  # it left the queue, and waits until there is room for it

    @asynccontextmanager
    async def taken(self, call: AdmissionCall, size: int) -> AsyncIterator[None]:
        """Wait until there is room for so many bytes, or until all of it is free. Raises Overloaded."""
        if size <= self._small:
            yield
            return
        await self._turn(call, size)
        try:
            yield
        finally:
            self._give_back(size)

    async def _turn(self, call: AdmissionCall, size: int) -> None:
        if call.refused is not None:
            raise call.refused
        if self._next is None and not self._queue and self._fits(size):
            self._enter(call, size)
        elif call.firm or self._wait_s > 0:
            await wait_in_queue(partial(self._join, call, size), self._wait_s, self._expire, self._withdraw)
        else:
            raise self._refusal(call)

    def _join(self, call: AdmissionCall, size: int, answer: Answer) -> QueuedRequest:
        waiter = QueuedRequest(call, size, asyncio.get_running_loop().time(), answer)
        self._queue.push(waiter)
        return waiter

    def _expire(self, waiter: QueuedRequest) -> None:
        if waiter.waits and not waiter.firm:
            waiter.answer(self._refusal(waiter.call))
            self._take_out(waiter)

    def _withdraw(self, waiter: QueuedRequest) -> None:
        """The caller has left."""
        if waiter.inside:
            self._give_back(waiter.weight)
        elif waiter.waits:
            self._take_out(waiter)

    def _take_out(self, waiter: QueuedRequest) -> None:
        waiter.waits = False
        if waiter is self._next:
            self._next = None
            self._let_in_next()
        else:
            self._queue.remove(waiter)

    def _give_back(self, size: int) -> None:
        self._taken -= size
        self._let_in_next()

    def _let_in_next(self) -> None:
        """Let waiting requests in while there is room for the next one; a smaller one does not pass it."""
        while self._next is not None or self._queue:
            waiter = self._next = self._next or self._queue.pop(_OLDEST_FIRST)
            if waiter.call.refused is None and not self._fits(waiter.weight):
                return
            self._next, waiter.waits = None, False
            if waiter.call.refused is None:
                waiter.inside = True
                self._enter(waiter.call, waiter.weight)
            waiter.answer(waiter.call.refused)

    def _fits(self, size: int) -> bool:
        return not self._taken or self._taken + size <= self._most

    def _enter(self, call: AdmissionCall, size: int) -> None:
        self._taken += size
        call.begun = True

    def _refusal(self, call: AdmissionCall) -> Overloaded:
        """The error for all requests of the call."""
        self._on_refused()
        call.refused = Overloaded("too many searches with large answers are under way; try again in a moment")
        return call.refused
