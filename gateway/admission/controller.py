"""Admission control for one TorchServe endpoint: requests run, wait in a queue, or are refused. Counted in items.

`AdaptiveLimit` bounds the items under way at TorchServe. A request beyond the bound waits for at most `wait_s`
seconds. Callers (API keys, or addresses without keys) take turns (`FairQueue`). A caller's oldest request goes first;
once it has waited for `_MOMENT_S`, the caller's newest goes first. A burst ends at the same time either way, and in an
overload the requests that are served are served in time (adaptive LIFO: Maurer, Fail at Scale, ACM Queue 2015).
The rest of a call that has begun goes after both, for it is not refused any more.

The controller sheds load when a request has waited its full time (`_LATE` times that, if its call has begun) and the
queue does not shrink. While it sheds, it refuses almost everything; only callers with fewer items here than most may
wait. Shedding ends when no request was refused for `_CALM_S` seconds.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from functools import partial

from clip_core.errors import Overloaded
from gateway.admission.adaptive_limit import AdaptiveLimit
from gateway.admission.queued_request import AdmissionCall, Answer, QueuedRequest, wait_in_queue
from gateway.counts import Counts
from gateway.fair_queue import FairQueue

_MOMENT_S = 0.1
_LOOK_S = 0.25
_CALM_S = 0.5
_SPARE = 0.25  # of the bound: what may wait during an overload
_LATE = 2.0  # times `wait_s`: a begun call that waits for longer means an overload
_LONGEST_RETRY_S = 10.0


class AdmissionController:
    """Admits the requests of one endpoint. Only `turn` is asynchronous; tests may simulate `clock` (seconds)."""

    def __init__(
        self,
        concurrency: AdaptiveLimit,
        wait_s: float,
        *,
        clock: Callable[[], float] = time.monotonic,
        on_refused: Callable[[], None] = lambda: None,
        on_turned_away: Callable[[], None] = lambda: None,
    ) -> None:
        """`on_refused` is called for each refusal, `on_turned_away` for those of requests that never came to `turn`."""
        self.concurrency = concurrency
        self._wait_s, self._clock, self._on_refused = wait_s, clock, on_refused
        self._on_turned_away = on_turned_away
        self._queue: FairQueue[QueuedRequest] = FairQueue()
        self._here = Counts()  # items of each caller that wait or are under way
        self._sheds_until = self._looked = float("-inf")
        self._waited = (0, 0)  # items in the queue at the last look, and at the one before

    @property
    def sheds(self) -> bool:
        """Whether load is being shed: most new requests are refused."""
        return self._clock() < self._sheds_until

    @property
    def waiting(self) -> int:
        """Items in the queue."""
        return self._queue.items

    def check(self, caller: str) -> None:
        """Raises Overloaded when a request of this caller can neither run nor wait."""
        if not self.concurrency.has_room() and not self._may_wait(caller, 1):
            self._on_turned_away()
            raise self._refusal()

    def _may_wait(self, caller: str, weight: int) -> bool:
        """While load is shed, a request counts those that wait and are no larger: lists never keep a text out."""
        if not self.sheds:
            return self._wait_s > 0
        waiting = sum(each.weight for each in self._queue if not each.firm and each.weight <= weight)
        return waiting < _SPARE * self.concurrency.limit and self._has_little(caller)

    def _has_little(self, caller: str) -> bool:
        """Whether the caller has fewer items here than the average caller."""
        return self._here.get(caller, 0) * len(self._here) < self.concurrency.items + self._queue.items

    async def turn(self, call: AdmissionCall, weight: int) -> None:
        """Wait until a request of `weight` items is admitted; the caller must then call `leave`. Raises Overloaded."""
        if call.refused is not None:
            raise call.refused
        if self.concurrency.has_room():
            self.enter(call, weight)
        else:
            await wait_in_queue(partial(self.join, call, weight), self._wait_s, self.expire, self._withdraw)

    def enter(self, call: AdmissionCall, weight: int) -> None:
        """Admit a request at once; there must be room."""
        self._here.add(call.caller, weight)
        self._let_in(call, weight)

    def join(self, call: AdmissionCall, weight: int, answer: Answer) -> QueuedRequest:
        """Put a request into the queue; `expire` must be called after `wait_s`. Raises Overloaded."""
        if not (call.firm or call.accepted or self._may_wait(call.caller, weight)):
            call.refused = self._refusal()
            raise call.refused
        call.accepted = True
        waiter = QueuedRequest(call, weight, self._clock(), answer)
        self._look()
        self._queue.push(waiter)
        self._here.add(call.caller, weight)
        return waiter

    def leave(self, call: AdmissionCall, weight: int, waited_s: float = 0.0, worked_s: float | None = None) -> None:
        """An admitted request was answered; for the times in seconds see `AdaptiveLimit.leave`."""
        self._here.add(call.caller, -weight)
        self.concurrency.leave(weight, waited_s, worked_s)
        self._let_in_next()
        self._look()

    def expire(self, waiter: QueuedRequest) -> None:
        """Refuse a request that has waited its full time, unless its call has begun or is patient."""
        if not waiter.waits or waiter.firm:
            return
        self._shed_unless_shrinking()
        if waiter.waits:
            self._refuse([waiter])

    def _shed_unless_shrinking(self) -> None:
        if not self.sheds and self._queue.items >= self._waited[1]:
            self._sheds_until = self._clock() + _CALM_S
            self._refuse(other for other in self._queue if not self._has_little(other.lane))

    def _look(self) -> None:
        now = self._clock()
        if now - self._looked >= _LOOK_S:
            self._looked, self._waited = now, (self._queue.items, self._waited[0])

    def _refuse(self, waiters: Iterable[QueuedRequest]) -> None:
        for waiter in waiters:
            if not waiter.firm:
                self._take_out(waiter)
                waiter.call.refused = self._refusal()
                waiter.answer(waiter.call.refused)

    def _withdraw(self, waiter: QueuedRequest) -> None:
        """The caller has left: take the request out, or give its place back."""
        if waiter.inside:
            self.leave(waiter.call, waiter.weight)
        elif waiter.waits:
            self._take_out(waiter)

    def _take_out(self, waiter: QueuedRequest) -> None:
        self._queue.remove(waiter)
        self._here.add(waiter.call.caller, -waiter.weight)
        waiter.waits = False

    def _let_in(self, call: AdmissionCall, weight: int) -> None:
        self.concurrency.enter(weight)
        call.begun = True

    def _let_in_next(self) -> None:
        """Admit waiting requests while there is room."""
        while self._queue and self.concurrency.has_room():
            waiter = self._queue.pop(self._clock() - _MOMENT_S)
            waiter.waits = False
            if waiter.call.refused is not None:
                self._here.add(waiter.call.caller, -waiter.weight)
                waiter.answer(waiter.call.refused)
                continue
            if not waiter.call.patient and self._clock() - waiter.since > _LATE * self._wait_s:
                self._shed_unless_shrinking()  # else lists that have all begun would wait ever longer
            waiter.inside = True
            self._let_in(waiter.call, waiter.weight)
            waiter.answer(None)

    def _refusal(self) -> Overloaded:
        """The error, with the time until the requests here now will have been served (by Little's law)."""
        if self.sheds:
            self._sheds_until = self._clock() + _CALM_S
        self._on_refused()
        turns = 1 + self._queue.items / max(1, self.concurrency.items)
        retry_s = min(turns * (self.concurrency.typical_s or 0.0), _LONGEST_RETRY_S)
        return Overloaded("too much is under way; try again after `Retry-After` seconds", retry_after=retry_s)
