"""How many items may be under way at one TorchServe endpoint: a bound that follows the measured queueing.

Of each request that a model worked on, the time not spent in the model is waiting. While the typical wait stays below a
few times the model's own time, workers are busy and nobody waits for long; beyond it more items under way add waiting
and no throughput, so the bound shrinks by a factor and grows back in steps (AIMD, as TCP; judged by standing delay
rather than by loss, as CoDel, RFC 8289). Being a ratio, it needs no tuning when the model is fast or slow.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

LEAST_REQUESTS, LEAST_ITEMS = 16, 256  # a TorchServe batch: fewer would leave workers without work
_WINDOW_S = 0.1
_FEWEST = 5  # observations that a window needs before it is judged
_SHRINK, _GROW, _GROW_FIRST = 0.75, 1.1, 2.0
_NEAR = 0.8  # a bound that is not nearly reached has no reason to grow
_NEWS = 0.3  # the weight of a new measurement of the rate
_LOOKS, _FADE = 5, 0.9  # measurements before the best rate counts, and what is left of it after a second under load


class Gate:
    """Starts at what any model takes within moments, and moves between least and most. Counts on the event loop."""

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
        self.rate: float | None = None  # items a second that the endpoint does when it is busy; None: not known yet
        self.best: float | None = None  # what it has been seen to do lately, after a few looks
        self.items = self.requests = 0
        self._most, self._least = most, min(least, most)
        self._ratio, self._floor_s = wait_ratio, wait_floor_s
        self._clock = clock
        self._grow = _GROW_FIRST
        self._window_ends = 0.0
        self._busiest = 0
        self._seen: list[tuple[float, float]] = []
        self._served, self._busy_since = 0, 0.0
        self._looks, self._seen_best = 0, 0.0

    def has_room(self) -> bool:
        """Below the bound, or below what keeps a worker busy. A request may pass the bound by its own items."""
        few = self.requests < LEAST_REQUESTS and self.items < min(LEAST_ITEMS, self._most)
        return self.items < self.limit or few

    def enter(self, items: int) -> None:
        """For a request of so many items; must be followed by `leave`."""
        if not self.requests:
            self._served, self._busy_since = 0, self._clock()
        self.items += items
        self.requests += 1
        self._busiest = max(self._busiest, self.items)

    def leave(self, items: int, waited_s: float = 0.0, worked_s: float | None = None) -> None:
        """`worked_s` is None for a request that no model worked on, which says nothing about queueing."""
        self.items -= items
        self.requests -= 1
        if worked_s is not None:
            self._served += items
            self._seen.append((waited_s, worked_s))
            self._judge(self._clock())

    def _judge(self, now: float) -> None:
        """Once in the time that a request takes, so that each verdict is about requests let in after the last one."""
        if now < self._window_ends or len(self._seen) < _FEWEST:
            return
        waited = statistics.median(waited for waited, _ in self._seen)
        worked = statistics.median(worked for _, worked in self._seen)
        near = self._busiest >= _NEAR * int(self.limit)
        self._note_rate(now, near)
        tolerated = self._ratio * worked + self._floor_s
        if waited > tolerated:
            self.limit, self._grow = max(self._least, self.limit * _SHRINK), _GROW
        elif near and self.rate is not None:
            self._raise(self.rate * (tolerated + worked))
        self._window_ends = now + max(_WINDOW_S, waited + worked)
        self._busiest = self.items
        self._seen.clear()

    def _raise(self, useful: float) -> None:
        """Quickly at first; never beyond what would be under way with a tolerated wait (Little's law)."""
        if self.limit >= LEAST_ITEMS:
            self._grow = _GROW
        self.limit = max(self.limit, min(self._most, self.limit * self._grow, useful))

    def _note_rate(self, now: float, full: bool) -> None:
        """From windows in which something was always under way; one that was not full says only what is possible."""
        if now > self._busy_since:
            rate = self._served / (now - self._busy_since)
            if self.rate is None:
                self.rate = rate if full else None
            elif full or rate > self.rate:
                self.rate += _NEWS * (rate - self.rate)
            self._note_best(rate, now - self._busy_since, full)
        self._served, self._busy_since = 0, now

    def _note_best(self, rate: float, seconds: float, full: bool) -> None:
        """A burst is slow to begin with, since the gateway reads requests meanwhile: the best rate says what can be."""
        self._looks += full
        self._seen_best = max(rate, self._seen_best * _FADE**seconds)
        if self._looks >= _LOOKS:
            self.best = self._seen_best
