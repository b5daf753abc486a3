"""An adaptive limit on the items under way at one TorchServe endpoint.

For each request that a model worked on, the time outside the model counts as waiting. While the median wait stays below
a few times the model's own time, workers are busy and waits are short. Above that, more items add waiting and no
throughput, so the limit shrinks by a factor; later it grows back by a factor near 1 (as AIMD in TCP; it follows the
standing delay rather than losses, as CoDel, RFC 8289). The threshold is a ratio: fast and slow models need no tuning.

A limit above `_ENOUGH` items also shrinks when requests take longer than `_LONG_S`: TorchServe puts all that waits into
one batch and can't interrupt it, so one caller's lists would hold up everybody else, for little more throughput.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

_BUSY = 2  # requests: one that a worker works on, and the next one
_LONG_S = 0.1
_ENOUGH = 64  # items: a GPU wants batches of that size, however long they take
_LEAST = 16  # items, where the limit also starts
_WAIT_RATIO, _WAIT_FLOOR_S = 1.5, 0.05  # waits beyond so many times the work, and so many seconds more, are too long
_WINDOW_S = 0.1
_FEWEST = 5  # observations that a window needs before it is judged
_SHRINK, _GROW = 0.75, 1.1
_NEAR = 0.8  # a bound that is not nearly reached has no reason to grow


class AdaptiveLimit:
    """`limit` starts at 16 items and moves between 16 and `most`. Use it on the event loop only."""

    def __init__(self, most: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        """The limit shrinks when the median wait exceeds 1.5 times the work plus 0.05 s.

        Above 64 items it also shrinks when wait and work together exceed 0.1 s.
        """
        self._most, self._least = most, min(_LEAST, most)
        self.limit: float = self._least
        self.items = self.requests = 0
        self.typical_s: float | None = None  # what a request takes, waiting included; None: not known yet
        self._clock = clock
        self._window_ends = 0.0
        self._busiest = 0
        self._seen: list[tuple[float, float]] = []

    def has_room(self) -> bool:
        """Whether one more request may run. Its own items may take the total above the limit.

        There is always room for what keeps a worker busy, whatever the limit.
        """
        return self.items < self.limit or self.requests < min(_BUSY, self._most)

    def enter(self, items: int) -> None:
        """Count a request of `items` items; `leave` must follow."""
        self.items += items
        self.requests += 1
        self._busiest = max(self._busiest, self.items)

    def leave(self, items: int, waited_s: float = 0.0, worked_s: float | None = None) -> None:
        """Count a request out. `worked_s` is None when no model worked on it: then it tells nothing about queueing."""
        self.items -= items
        self.requests -= 1
        if worked_s is not None:
            self._seen.append((waited_s, worked_s))
            self._judge(self._clock())

    def _judge(self, now: float) -> None:
        """Adjust the limit at most once in the time of a request, so that only later requests count."""
        if now < self._window_ends or len(self._seen) < _FEWEST:
            return
        waited = statistics.median(waited for waited, _ in self._seen)
        worked = statistics.median(worked for _, worked in self._seen)
        self.typical_s = waited + worked
        if waited > _WAIT_RATIO * worked + _WAIT_FLOOR_S:
            self.limit = max(self._least, self.limit * _SHRINK)
        elif waited + worked > _LONG_S and self.limit > _ENOUGH:
            self.limit = max(_ENOUGH, self.limit * _SHRINK)
        elif self._busiest >= _NEAR * int(self.limit):
            self.limit = min(self._most, self.limit * _GROW)
        self._window_ends = now + max(_WINDOW_S, waited + worked)
        self._busiest = self.items
        self._seen.clear()
