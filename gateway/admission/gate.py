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

_LEAST_REQUESTS, _LEAST_ITEMS = 16, 256  # a TorchServe batch: fewer would leave workers without work
_WINDOW_S = 0.1
_FEWEST = 5  # observations that a window needs before it is judged
_SHRINK, _GROW = 0.75, 1.1
_NEAR = 0.8  # a bound that is not nearly reached has no reason to grow


class Gate:
    """Starts at what any model takes within moments, and moves between least and most. Counts on the event loop."""

    def __init__(
        self,
        most: int,
        *,
        start: int = 16,
        least: int = 16,
        wait_ratio: float = 1.5,
        wait_floor_s: float = 0.05,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """A wait is tolerated up to `wait_ratio` times the work plus `wait_floor_s`, for what is no queueing."""
        self.limit: float = min(start, most)
        self.items = self.requests = 0
        self.typical_s: float | None = None  # what a request takes, waiting included; None: not known yet
        self._most, self._least = most, min(least, most)
        self._ratio, self._floor_s = wait_ratio, wait_floor_s
        self._clock = clock
        self._window_ends = 0.0
        self._busiest = 0
        self._seen: list[tuple[float, float]] = []

    def has_room(self) -> bool:
        """Below the bound, or below what keeps a worker busy. A request may pass the bound by its own items."""
        few = self.requests < _LEAST_REQUESTS and self.items < min(_LEAST_ITEMS, self._most)
        return self.items < self.limit or few

    def enter(self, items: int) -> None:
        """For a request of so many items; must be followed by `leave`."""
        self.items += items
        self.requests += 1
        self._busiest = max(self._busiest, self.items)

    def leave(self, items: int, waited_s: float = 0.0, worked_s: float | None = None) -> None:
        """`worked_s` is None for a request that no model worked on, which says nothing about queueing."""
        self.items -= items
        self.requests -= 1
        if worked_s is not None:
            self._seen.append((waited_s, worked_s))
            self._judge(self._clock())

    def _judge(self, now: float) -> None:
        """Once in the time that a request takes, so that each verdict is about requests let in after the last one."""
        if now < self._window_ends or len(self._seen) < _FEWEST:
            return
        waited = statistics.median(waited for waited, _ in self._seen)
        worked = statistics.median(worked for _, worked in self._seen)
        self.typical_s = waited + worked
        if waited > self._ratio * worked + self._floor_s:
            self.limit = max(self._least, self.limit * _SHRINK)
        elif self._busiest >= _NEAR * int(self.limit):
            self.limit = min(self._most, self.limit * _GROW)
        self._window_ends = now + max(_WINDOW_S, waited + worked)
        self._busiest = self.items
        self._seen.clear()
