"""A fair queue: every lane gets the same number of items through, however many items wait in it.

Start-time fair queueing (Goyal, Vin and Cheng, 1996): each lane has a virtual time, which advances by the items it gets
through. The lane with the least time is next. A lane that was empty starts at the time of the entry popped last, so its
first item goes before the second item of another lane. An empty lane keeps its time until that time is reached or the
whole queue is empty; then it is forgotten.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar


class QueueEntry(Protocol):
    """`lane` names the owner, `weight` is the number of items (one at least), `since` the time of arrival in seconds.

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


@dataclass(eq=False, slots=True)
class QueuedTurn:
    """An entry of one item, first come first served within its lane; `turn` is done when it is its turn."""

    lane: str
    turn: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    weight: int = 1
    since: float = 0.0
    firm: bool = False


E = TypeVar("E", bound=QueueEntry)
NEVER = float("-inf")
"""Of `pop`: no entry is stale."""


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

        Entries that are not firm go before those that are: the oldest of its lane, or the newest if the oldest came
        before `stale` (seconds). Of firm entries it is the oldest.
        """
        time, name = self._next_lane()
        entry = _taken(self._lanes[name], stale)
        self._time = time
        self._come_due(name, time + entry.weight)
        self._count_out(entry)
        return entry

    def remove(self, entry: E) -> None:
        """Take out an entry that is in the queue."""
        self._lanes[entry.lane].remove(entry)
        self._count_out(entry)

    def _next_lane(self) -> tuple[float, str]:
        """The time and the name of the lane that is next; empty lanes before it are forgotten."""
        while True:
            time, _, name = heapq.heappop(self._due)
            if self._lanes[name]:
                return time, name
            del self._lanes[name]

    def _come_due(self, name: str, time: float) -> None:
        heapq.heappush(self._due, (time, next(self._number), name))

    def _count_out(self, entry: E) -> None:
        self.items -= entry.weight
        if not self.items:
            self._lanes.clear()
            self._due.clear()


def _taken(lane: deque[E], stale: float) -> E:
    """Take the next entry out of a lane."""
    oldest = next((place for place, entry in enumerate(lane) if not entry.firm), None)
    if oldest is None:
        return lane.popleft()
    if lane[oldest].since >= stale:
        return _at(lane, oldest)
    return _at(lane, next(place for place in reversed(range(len(lane))) if not lane[place].firm))


def _at(lane: deque[E], place: int) -> E:
    entry = lane[place]
    del lane[place]
    return entry
