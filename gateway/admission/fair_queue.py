"""A fair queue: every lane gets the same number of items through, however many items wait in it.

Start-time fair queueing (Goyal, Vin and Cheng, 1996): each lane has a virtual time, which advances by the items it gets
through. The lane with the least time is next. A lane that was empty starts at the time of the entry popped last, so its
first item goes before the second item of another lane.
"""

from __future__ import annotations

import heapq
import itertools
from collections import deque
from collections.abc import Iterator
from typing import Generic, Protocol, TypeVar


class QueueEntry(Protocol):
    """`lane` names the owner, `weight` is the number of items, `since` the time of arrival in seconds.

    A `firm` entry will be served in any case, however late.
    """

    @property
    def lane(self) -> str: ...

    @property
    def weight(self) -> int: ...

    @property
    def since(self) -> float: ...

    @property
    def firm(self) -> bool: ...


E = TypeVar("E", bound=QueueEntry)


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
        """A snapshot of the entries that wait now."""
        return iter([entry for lane in self._lanes.values() for entry in lane])

    def push(self, entry: E) -> None:
        """Add the entry at the end of its lane."""
        if entry.lane not in self._lanes:
            self._lanes[entry.lane] = deque()
            self._come_due(entry.lane, self._time)
        self._lanes[entry.lane].append(entry)
        self.items += entry.weight

    def pop(self, stale: float) -> E:
        """Take the next entry; the queue must not be empty.

        It is the oldest of its lane, or the newest that is not firm if the oldest came before `stale` (seconds).
        """
        time, _, name = heapq.heappop(self._due)
        lane = self._lanes[name]
        if not lane:
            del self._lanes[name]
            return self.pop(stale)
        entry = _newest(lane) if lane[0].since < stale else lane.popleft()
        self.items -= entry.weight
        self._time = time
        self._come_due(name, time + entry.weight)
        return entry

    def remove(self, entry: E) -> None:
        """Take out an entry that is in the queue."""
        self._lanes[entry.lane].remove(entry)
        self.items -= entry.weight

    def _come_due(self, name: str, time: float) -> None:
        heapq.heappush(self._due, (time, next(self._number), name))


def _newest(lane: deque[E]) -> E:
    """Take the newest entry that is not firm, or the oldest where all are."""
    place = next((place for place in reversed(range(len(lane))) if not lane[place].firm), 0)
    entry = lane[place]
    del lane[place]
    return entry
