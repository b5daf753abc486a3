"""A queue that is shared fairly: each lane gets the same number of items through, however many wait in it.

Start-time fair queueing (Goyal, Vin and Cheng, 1996): a lane's next entry is due at the lane's own time, which moves on
by the items let through; a lane that was empty starts at the time of the one let through last. Whoever comes with one
item is therefore ahead of another lane's second.
"""

from __future__ import annotations

import heapq
import itertools
from collections import deque
from collections.abc import Hashable, Iterator
from typing import Generic, Protocol, TypeVar


class Entry(Protocol):
    """`lane` is whom it belongs to, `weight` its number of items."""

    @property
    def lane(self) -> Hashable: ...

    @property
    def weight(self) -> int: ...


E = TypeVar("E", bound=Entry)


class FairQueue(Generic[E]):
    """Within a lane the oldest entry leaves first, or the newest where `pop` is told so."""

    def __init__(self) -> None:
        self.items = 0
        self._lanes: dict[Hashable, deque[E]] = {}
        self._due: list[tuple[float, int, Hashable]] = []  # one for each lane
        self._number = itertools.count()
        self._time = 0.0

    def __bool__(self) -> bool:
        return self.items > 0

    def push(self, entry: E) -> None:
        """At the end of its lane."""
        if entry.lane not in self._lanes:
            self._lanes[entry.lane] = deque()
            self._come_due(entry.lane, self._time)
        self._lanes[entry.lane].append(entry)
        self.items += entry.weight

    def pop(self, *, newest: bool = False) -> E:
        """The next one; there must be one."""
        time, _, name = heapq.heappop(self._due)
        lane = self._lanes[name]
        if not lane:
            del self._lanes[name]
            return self.pop(newest=newest)
        entry = lane.pop() if newest else lane.popleft()
        self.items -= entry.weight
        self._time = time
        self._come_due(name, time + entry.weight)
        return entry

    def remove(self, entry: E) -> None:
        """One that is in it."""
        self._lanes[entry.lane].remove(entry)
        self.items -= entry.weight

    def oldest(self, lane: Hashable) -> E | None:
        """The one that has waited for the longest in this lane."""
        waiting = self._lanes.get(lane)
        return waiting[0] if waiting else None

    def lanes(self) -> Iterator[tuple[E, ...]]:
        """The entries of each lane that has some, the oldest first."""
        return (tuple(lane) for lane in list(self._lanes.values()) if lane)

    def _come_due(self, name: Hashable, time: float) -> None:
        heapq.heappush(self._due, (time, next(self._number), name))
