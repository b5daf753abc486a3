"""Whether a queue is a burst that will pass or an overload that stays.

A burst may wait. A queue that has not emptied for half a second, and does not shrink either, stands: it adds waiting
for everybody and no throughput (CoDel's distinction of good and bad queues, RFC 8289). From then on next to nothing may
wait, until nobody has been refused for half a second. The queue itself cannot show the end, since it is empty while
nothing may wait in it; so a steady overload does not swing between the two.
"""

from __future__ import annotations

_STANDS_S = 0.5
_LOOK_S = 0.25
_CALM_S = 0.5
_YOUNG_S = 0.1
_NEVER = float("-inf")


class Standing:
    """Told of the queue whenever somebody comes who would have to wait, and whenever somebody leaves it."""

    def __init__(self) -> None:
        self.stands = False
        self._emptied = self._looked = self._refused = _NEVER
        self._before = 0

    def see(self, now: float, waiting: int) -> None:
        """`waiting` items are in the queue."""
        if not waiting:
            self._emptied = now
        if self.stands:
            self.stands = now - self._refused < _CALM_S
            self._emptied = now
        elif now - self._looked >= _LOOK_S:
            shrinks = waiting < self._before and self._refused < self._looked
            self.stands = now - self._emptied >= _STANDS_S and not shrinks
            self._looked, self._before = now, waiting

    def is_young(self, now: float) -> bool:
        """It was empty a moment ago: first come, first served. In an older one the newest are served in time, and those
        who have waited for long may not be (adaptive LIFO: Maurer, Fail at Scale, ACM Queue 2015).
        """
        return now - self._emptied < _YOUNG_S

    def refuse(self, now: float) -> None:
        """Somebody was turned away."""
        self._refused = now
