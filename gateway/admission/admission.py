"""Who may go on to TorchServe, who waits, and who is told to come back: for each endpoint, in items.

`Gate` bounds the items under way at TorchServe. What is beyond it waits here for its turn, for at most `wait_s` by the
clock. Callers (keys, or addresses without keys) take turns (`FairQueue`). A caller's oldest request goes first; once it
has waited for a moment, the newest does: a burst ends at the same time either way, and in an overload those who are
served are served in time (adaptive LIFO: Maurer, Fail at Scale, ACM Queue 2015).

When a request has waited in vain and the queue does not shrink, more comes than can be done. From then on nothing waits
but a little of callers who have less here than most, until nobody has been refused for `_CALM_S`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

from clip_core.errors import Overloaded
from gateway.admission.fair_queue import FairQueue
from gateway.admission.gate import Gate
from gateway.counts import Counts
from gateway.trace import current_trace

_MOMENT_S = 0.1
_LOOK_S = 0.25
_CALM_S = 0.5
_SPARE = 0.25  # of the bound: what may wait during an overload
_LONGEST_RETRY_S = 10.0


@dataclass(eq=False, slots=True)
class Call:
    """One caller's inputs for an endpoint. A patient one is never refused; neither is one that has begun.

    It may take several requests: it has begun when one of them was let in, and is refused when one of them was.
    """

    caller: str
    patient: bool = False
    begun: bool = False
    refused: Overloaded | None = None


@dataclass(eq=False, slots=True)
class Waiter:
    """A request that waits. `answer` is called once: with None when it may go, else with why not."""

    call: Call
    weight: int
    since: float
    answer: Callable[[Overloaded | None], None]
    waits: bool = True
    inside: bool = False

    @property
    def lane(self) -> str:
        return self.call.caller


class Admission:
    """Of one endpoint. Everything but `turn` is synchronous, and `clock` may be simulated."""

    def __init__(
        self,
        gate: Gate,
        wait_s: float,
        *,
        clock: Callable[[], float] = time.monotonic,
        on_refused: Callable[[], None] = lambda: None,
    ) -> None:
        self.gate = gate
        self._wait_s, self._clock, self._on_refused = wait_s, clock, on_refused
        self._queue: FairQueue[Waiter] = FairQueue()
        self._here = Counts()  # items of each caller that wait or are under way
        self._sheds_until = self._looked = float("-inf")
        self._waited = (0, 0)  # items in the queue at the last look, and at the one before

    @property
    def sheds(self) -> bool:
        """Whether more comes than can be done, so that most of what comes is refused."""
        return self._clock() < self._sheds_until

    def check(self, caller: str) -> None:
        """Raises Overloaded when a request of this caller may neither go nor wait."""
        if not self.gate.has_room() and not self._may_wait(caller):
            raise self._refusal()

    def _may_wait(self, caller: str) -> bool:
        if not self.sheds:
            return self._wait_s > 0
        return self._queue.items < _SPARE * self.gate.limit and self._has_little(caller)

    def _has_little(self, caller: str) -> bool:
        """Less than most callers have here."""
        return self._here.get(caller, 0) * len(self._here) < self.gate.items + self._queue.items

    async def turn(self, call: Call, weight: int) -> None:
        """Returns when a request of so many items may go; `leave` must follow. Raises Overloaded."""
        if call.refused is not None:
            raise call.refused
        if self.gate.has_room():
            self.enter(call, weight)
        else:
            await self._wait(call, weight)

    def enter(self, call: Call, weight: int) -> None:
        """At once, since there is room."""
        self._here.add(call.caller, weight)
        self._let_in(call, weight)

    async def _wait(self, call: Call, weight: int) -> None:
        loop = asyncio.get_running_loop()
        answered: asyncio.Future[None] = loop.create_future()
        waiter = self.join(call, weight, partial(_settle, answered))
        timer = loop.call_later(self._wait_s, self.expire, waiter)
        try:
            await answered
        except asyncio.CancelledError:
            self._withdraw(waiter)
            raise
        finally:
            timer.cancel()

    def join(self, call: Call, weight: int, answer: Callable[[Overloaded | None], None]) -> Waiter:
        """Into the queue; `expire` must follow after `wait_s`. Raises Overloaded."""
        if not (call.begun or call.patient or self._may_wait(call.caller)):
            call.refused = self._refusal()
            raise call.refused
        waiter = Waiter(call, weight, self._clock(), answer)
        self._look()
        self._queue.push(waiter)
        self._here.add(call.caller, weight)
        return waiter

    def leave(self, call: Call, weight: int, waited_s: float = 0.0, worked_s: float | None = None) -> None:
        """What was let in is answered; see `Gate.leave`."""
        self._here.add(call.caller, -weight)
        self.gate.leave(weight, waited_s, worked_s)
        self._let_in_next()
        self._look()

    def expire(self, waiter: Waiter) -> None:
        """It has waited for as long as it may, unless its call has begun."""
        if not waiter.waits or waiter.call.begun or waiter.call.patient:
            return
        if not self.sheds and self._queue.items >= self._waited[1]:
            self._sheds_until = self._clock() + _CALM_S
            self._refuse(other for other in self._queue if not self._has_little(other.lane))
        if waiter.waits:
            self._refuse([waiter])

    def _look(self) -> None:
        now = self._clock()
        if now - self._looked >= _LOOK_S:
            self._looked, self._waited = now, (self._queue.items, self._waited[0])

    def _refuse(self, waiters: Iterable[Waiter]) -> None:
        for waiter in waiters:
            if not (waiter.call.begun or waiter.call.patient):
                self._take_out(waiter)
                waiter.call.refused = self._refusal()
                waiter.answer(waiter.call.refused)

    def _withdraw(self, waiter: Waiter) -> None:
        """Nobody waits for it any more."""
        if waiter.inside:
            self.leave(waiter.call, waiter.weight)
        elif waiter.waits:
            self._take_out(waiter)

    def _take_out(self, waiter: Waiter) -> None:
        self._queue.remove(waiter)
        self._here.add(waiter.call.caller, -waiter.weight)
        waiter.waits = False

    def _let_in(self, call: Call, weight: int) -> None:
        self.gate.enter(weight)
        call.begun = True

    def _let_in_next(self) -> None:
        """As many as there is room for."""
        while self._queue and self.gate.has_room():
            waiter = self._queue.pop(self._clock() - _MOMENT_S)
            waiter.waits, waiter.inside = False, True
            self._let_in(waiter.call, waiter.weight)
            waiter.answer(None)

    def _refusal(self) -> Overloaded:
        """Says when those who are here now will have been served (by Little's law)."""
        if self.sheds:
            self._sheds_until = self._clock() + _CALM_S
        self._on_refused()
        turns = 1 + self._queue.items / max(1, self.gate.items)
        retry_s = min(turns * (self.gate.typical_s or 0.0), _LONGEST_RETRY_S)
        return Overloaded("too much is under way; try again after `Retry-After` seconds", retry_after=retry_s)


def _settle(answered: asyncio.Future[None], error: Overloaded | None) -> None:
    if answered.done():
        return
    if error is None:
        answered.set_result(None)
    else:
        answered.set_exception(error)


class Admissions:
    """One Admission for each endpoint, made when it is first asked for."""

    def __init__(self, most: int, wait_s: float, on_refused: Callable[[str], None]) -> None:
        self._most, self._wait_s, self._on_refused = most, wait_s, on_refused
        self._at: dict[str, Admission] = {}

    def at(self, endpoint: str) -> Admission:
        made = self._at.get(endpoint)
        if made is None:
            refused = partial(self._on_refused, endpoint)
            made = self._at[endpoint] = Admission(Gate(self._most), self._wait_s, on_refused=refused)
        return made

    def check(self, endpoints: Iterable[str]) -> None:
        """Raises Overloaded unless the current request may go, or wait, at each of these endpoints.

        Work that no request waits for, and what comes in a stream, may always wait.
        """
        trace = current_trace()
        if trace.caller and not trace.patient:
            for endpoint in endpoints:
                self.at(endpoint).check(trace.caller)

    def call(self) -> Call:
        """For the current request, at one endpoint."""
        trace = current_trace()
        return Call(trace.caller, trace.patient or not trace.caller)
