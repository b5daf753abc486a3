"""Who may go on to TorchServe, who waits, and who is told to come back: for each endpoint, in items.

`Gate` bounds the items under way at TorchServe. What is beyond it waits here when it will be its turn within
`wait_s`, by the items ahead and the measured rate; while the queue stands (`Standing`), only callers who have less here
than most may wait. Callers (keys, or addresses without keys) share the queue fairly (`FairQueue`).

A call that takes several requests is admitted once. Its first request waits in its caller's lane; the others join the
queue when that one has gone, in a lane of the call, so that a small call never waits for the end of a large one.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from functools import partial

from clip_core.errors import Overloaded
from gateway.counts import Counts
from gateway.fair_queue import FairQueue
from gateway.gate import LEAST_REQUESTS, Gate
from gateway.standing import Standing
from gateway.telemetry import current_trace

_SPARE = 0.25  # of the bound: what may wait of callers who have little here, while the queue stands


@dataclass(eq=False, slots=True)
class Call:
    """One caller's inputs for an endpoint, of which `left` are not sent yet. A patient one is never refused.

    `settled` is set when its first request goes, or is refused.
    """

    caller: str
    left: int
    patient: bool = False
    asked: bool = False
    begun: bool = False
    refused: Overloaded | None = None
    settled: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass(eq=False, slots=True)
class Waiter:
    """A request that waits. `answer` is called once: with None when it may go, else with why not."""

    call: Call
    weight: int
    lane: Hashable
    answer: Callable[[Overloaded | None], None]
    waits: bool = True
    inside: bool = False


class Admission:
    """Of one endpoint. Everything but `turn` is synchronous, and `clock` may be simulated."""

    def __init__(
        self,
        gate: Gate,
        wait_s: float,
        *,
        least_calls: int = LEAST_REQUESTS,
        clock: Callable[[], float] = time.monotonic,
        on_refused: Callable[[], None] = lambda: None,
    ) -> None:
        """`least_calls` may always be here, whatever they wait for one another."""
        self.gate = gate
        self._wait_s, self._least_calls = wait_s, least_calls
        self._clock, self._on_refused = clock, on_refused
        self._queue: FairQueue[Waiter] = FairQueue()
        self._standing = Standing()
        self._calls = 0
        self._here = Counts()  # calls of each caller
        self._unsent = 0  # items of the calls here
        self._waiting = Counts()  # items of each caller whose calls have not begun
        self._all_waiting = 0

    @property
    def sheds(self) -> bool:
        """Whether the queue stands, so that most of what comes is refused."""
        return self._standing.stands

    def check(self, caller: str, weight: int, first: int) -> None:
        """Raises Overloaded when a call of `weight` items, `first` of them in its first request, may not even wait."""
        if self.gate.has_room() or self._calls < self._least_calls:
            return
        self._see()
        if self.sheds:
            has_little = self._here.get(caller, 0) * len(self._here) < self._calls
            may = has_little and self._all_waiting < _SPARE * self.gate.limit
        else:
            may = self._wait_s > 0 and self._expected_s(caller, weight, first) <= self._wait_s
        if not may and (self.sheds or weight > first or not self._replaces_oldest(caller)):
            raise self._refusal()

    def open(self, caller: str, weight: int, *, patient: bool = False) -> Call:
        """A call that is here from now on, until it is closed."""
        call = Call(caller, weight, patient)
        self._calls += 1
        self._here.add(caller, 1)
        self._unsent += weight
        return call

    def close(self, call: Call) -> None:
        """It has all its answers, or nobody waits for them."""
        self._calls -= 1
        self._unsent -= call.left
        self._here.add(call.caller, -1)

    async def turn(self, call: Call, weight: int) -> None:
        """Returns when a request of so many items may go; `leave` must follow. Raises Overloaded."""
        if call.asked and not call.begun:
            await call.settled.wait()
        if call.refused is not None:
            raise call.refused
        call.asked = True
        if self.gate.has_room():
            self._let_in(call, weight)
        else:
            await self._wait(call, weight)

    async def _wait(self, call: Call, weight: int) -> None:
        answered: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiter = self.join(call, weight, lambda error: _settle(answered, error))
        timer = asyncio.get_running_loop().call_later(self._wait_s, self.expire, waiter)
        try:
            await answered
        except asyncio.CancelledError:
            self.withdraw(waiter)
            raise
        finally:
            timer.cancel()

    def join(self, call: Call, weight: int, answer: Callable[[Overloaded | None], None]) -> Waiter:
        """Into the queue."""
        self._see()
        waiter = Waiter(call, weight, call if call.begun else call.caller, answer)
        self._queue.push(waiter)
        if waiter.lane is not call:
            self._waiting.add(call.caller, weight)
            self._all_waiting += weight
        return waiter

    def leave(self, weight: int, waited_s: float = 0.0, worked_s: float | None = None) -> None:
        """What was let in is answered; see `Gate.leave`."""
        self.gate.leave(weight, waited_s, worked_s)
        self.let_in_next()

    def expire(self, waiter: Waiter) -> None:
        """It has waited for as long as it may, unless its call has begun."""
        if waiter.waits and not waiter.call.begun and not waiter.call.patient:
            self._take_out(waiter)
            waiter.call.refused = self._refusal()
            waiter.call.settled.set()
            waiter.answer(waiter.call.refused)

    def withdraw(self, waiter: Waiter) -> None:
        """Nobody waits for it any more."""
        if waiter.inside:
            self.leave(waiter.weight)
        elif waiter.waits:
            self._take_out(waiter)

    def _let_in(self, call: Call, weight: int) -> None:
        self.gate.enter(weight)
        call.begun = True
        call.settled.set()
        call.left -= weight
        self._unsent -= weight

    def let_in_next(self) -> None:
        """As many as there is room for."""
        while self._queue and self.gate.has_room():
            waiter = self._queue.pop(newest=not self._standing.is_young(self._clock()))
            self._forget(waiter)
            waiter.inside = True
            self._let_in(waiter.call, waiter.weight)
            waiter.answer(None)
        if self._queue:
            self._see()

    def _take_out(self, waiter: Waiter) -> None:
        self._queue.remove(waiter)
        self._forget(waiter)

    def _forget(self, waiter: Waiter) -> None:
        waiter.waits = False
        if waiter.lane is not waiter.call:
            self._all_waiting -= waiter.weight
            self._waiting.add(waiter.call.caller, -waiter.weight)

    def _replaces_oldest(self, caller: str) -> bool:
        """In a queue that serves the newest first, the caller's oldest is refused in place of the newest."""
        oldest = self._queue.oldest(caller)
        if oldest is None or self._standing.is_young(self._clock()):
            return False
        self.expire(oldest)
        return not oldest.waits

    def _see(self) -> None:
        stood = self.sheds
        self._standing.see(self._clock(), self._all_waiting)
        if self.sheds and not stood:
            self._clear()

    def _clear(self) -> None:
        """Refuses who waits, but for the newest of each caller and as many as may always be here."""
        surplus = self._calls - self._least_calls
        old = [waiter for lane in self._queue.lanes() for waiter in lane[:-1] if not waiter.call.begun]
        for waiter in old[: max(0, surplus)]:
            if waiter.waits:
                self.expire(waiter)

    def _expected_s(self, caller: str, weight: int, first: int) -> float:
        """Until its turn; for a call of several requests, until its last one's."""
        if self.gate.best is None:
            return 0.0
        if weight > first:
            return (self.gate.items + self._unsent) / self.gate.best
        share = (self._waiting.get(caller, 0) + first) * (len(self._waiting) + 1)
        return (self.gate.items + min(self._all_waiting, share)) / self.gate.best

    def _refusal(self) -> Overloaded:
        self._standing.refuse(self._clock())
        self._on_refused()
        ahead_s = (self.gate.items + self._unsent) / self.gate.rate if self.gate.rate else 1.0
        return Overloaded("too much is under way; try again after `Retry-After` seconds", retry_after=ahead_s)


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
            least = min(LEAST_REQUESTS, self._most)
            gate, refused = Gate(self._most), partial(self._on_refused, endpoint)
            made = self._at[endpoint] = Admission(gate, self._wait_s, least_calls=least, on_refused=refused)
        return made

    def check(self, weights: Mapping[str, int], first: Callable[[str], int]) -> None:
        """Raises Overloaded unless the current request's call may go, or wait, at each of these endpoints.

        Work that no request waits for, and what comes in a stream, may always wait.
        """
        trace = current_trace()
        if trace.patient or not trace.caller:
            return
        for endpoint, weight in weights.items():
            self.at(endpoint).check(trace.caller, weight, min(weight, first(endpoint)))

    def open(self, weights: Mapping[str, int]) -> dict[str, Call]:
        """The current request's calls, by endpoint; `close` must follow."""
        trace = current_trace()
        patient = trace.patient or not trace.caller
        return {
            endpoint: self.at(endpoint).open(trace.caller, weight, patient=patient)
            for endpoint, weight in weights.items()
        }

    def close(self, calls: Mapping[str, Call]) -> None:
        """They are over."""
        for endpoint, call in calls.items():
            self.at(endpoint).close(call)
