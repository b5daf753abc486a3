"""A queue that is shared fairly: each lane gets the same number of items through, however many wait in it.

Start-time fair queueing (Goyal, Vin and Cheng, 1996): a lane's next entry is due at the lane's own time, which moves on
by the items let through; a lane that was empty starts at the time of the one let through last. Whoever comes with one
item is therefore ahead of another lane's second.
"""

from __future__ import annotations

import heapq
import itertools
from collections import deque
from collections.abc import Iterator
from typing import Generic, Protocol, TypeVar


class Entry(Protocol):
    """`lane` is whom it belongs to, `weight` its number of items, `since` when it came."""

    @property
    def lane(self) -> str: ...

    @property
    def weight(self) -> int: ...

    @property
    def since(self) -> float: ...


E = TypeVar("E", bound=Entry)


class FairQueue(Generic[E]):
    """Entries are pushed in the order of their `since`."""

    def __init__(self) -> None:
        self.items = 0
        self._lanes: dict[str, deque[E]] = {}
        self._due: list[tuple[float, int, str]] = []  # one for each lane
        self._number = itertools.count()
        self._time = 0.0

    def __bool__(self) -> bool:
        return self.items > 0

    def __iter__(self) -> Iterator[E]:
        """Those that wait now, whatever becomes of them meanwhile."""
        return iter([entry for lane in self._lanes.values() for entry in lane])

    def push(self, entry: E) -> None:
        """At the end of its lane."""
        if entry.lane not in self._lanes:
            self._lanes[entry.lane] = deque()
            self._come_due(entry.lane, self._time)
        self._lanes[entry.lane].append(entry)
        self.items += entry.weight

    def pop(self, stale: float) -> E:
        """The next one; there must be one. The oldest of its lane, or the newest if the oldest came before `stale`."""
        time, _, name = heapq.heappop(self._due)
        lane = self._lanes[name]
        if not lane:
            del self._lanes[name]
            return self.pop(stale)
        entry = lane.pop() if lane[0].since < stale else lane.popleft()
        self.items -= entry.weight
        self._time = time
        self._come_due(name, time + entry.weight)
        return entry

    def remove(self, entry: E) -> None:
        """One that is in it."""
        self._lanes[entry.lane].remove(entry)
        self.items -= entry.weight

    def _come_due(self, name: str, time: float) -> None:
        heapq.heappush(self._due, (time, next(self._number), name))
