"""How many clients may be connected, and which connection makes room for a new one.

A connection whose request is complete is never closed. Others may be closed: idle ones, and those whose request is
incomplete. An address with more than half of all connections loses its own first, so that one caller can't keep the
others out.
"""

from __future__ import annotations

import ipaddress
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Protocol, TypeAlias


class Connection(Protocol):
    address: str

    def make_room(self) -> None:
        """End, with an answer where a request has begun."""

    def abort(self) -> None:
        """End at once."""


Line: TypeAlias = dict[Connection, float]  # since when it stands there, oldest first
Lines: TypeAlias = defaultdict[str, Line]


class ConnectionLimit:
    """The connections of one server. Those that have had their last answer do not count any more."""

    def __init__(self, most: int, rested_s: float = 1.0) -> None:
        """A connection is idle once it has rested for `rested_s`: clients often send the next request soon."""
        self.most, self._rested_s = most, rested_s
        self._present: set[Connection] = set()
        self._leaving: Line = {}
        self._idle: Lines = defaultdict(dict)
        self._heads: Lines = defaultdict(dict)
        self._bodies: Lines = defaultdict(dict)
        self._line_of: dict[Connection, Line] = {}

    def admit(self, connection: Connection, now: float) -> bool:
        """Whether there is room for a new one; ends another where that makes room."""
        if len(self._present) >= self.most:
            other = self._next_to_go(now)
            if other is None:
                self._linger(connection, now)
                return False
            self.leaves(other, now)
            other.make_room()
        self._present.add(connection)
        self.awaits_head(connection, now)
        return True

    def rests(self, connection: Connection, now: float) -> None:
        """It has no request under way."""
        self._stand(connection, self._idle[connection.address], now)

    def awaits_head(self, connection: Connection, now: float) -> None:
        """Its next headers are not complete; a new one has sent nothing yet."""
        self._stand(connection, self._heads[connection.address], now)

    def awaits_body(self, connection: Connection, now: float) -> None:
        self._stand(connection, self._bodies[connection.address], now)

    def works(self, connection: Connection) -> None:
        """Its request is whole, or more of it has just come."""
        line = self._line_of.pop(connection, None)
        if line is not None:
            line.pop(connection, None)

    def leaves(self, connection: Connection, now: float) -> None:
        """It is only drained, for a while; at most as many connections may do that as may be open."""
        if connection in self._present:
            self.works(connection)
            self._present.discard(connection)
            self._linger(connection, now)

    def left(self, connection: Connection) -> None:
        self.works(connection)
        self._present.discard(connection)
        self._leaving.pop(connection, None)
        for lines in (self._idle, self._heads, self._bodies):
            if not lines[connection.address]:
                del lines[connection.address]

    def _stand(self, connection: Connection, line: Line, now: float) -> None:
        self.works(connection)
        if connection in self._present:
            self._line_of[connection] = line
            line[connection] = now

    def _linger(self, connection: Connection, now: float) -> None:
        self._leaving[connection] = now
        if len(self._leaving) > self.most:
            oldest = next(iter(self._leaving))
            del self._leaving[oldest]
            oldest.abort()

    def _next_to_go(self, now: float) -> Connection | None:
        loudest = max((*self._idle, *self._heads, *self._bodies), key=self._number_of, default="")
        if self._number_of(loudest) > self.most // 2:
            heads, bodies, idle = self._lines_of(loudest)
            return self._rested([idle], now) or _first(heads) or _first(bodies) or _first(idle)
        return self._rested(self._idle.values(), now) or _first(_longest(self._heads)) or _first(_longest(self._bodies))

    def _lines_of(self, address: str) -> list[Line]:
        return [lines.get(address, {}) for lines in (self._heads, self._bodies, self._idle)]

    def _number_of(self, address: str) -> int:
        return sum(map(len, self._lines_of(address)))

    def _rested(self, lines: Iterable[Line], now: float) -> Connection | None:
        """The one that has been idle for longest."""
        firsts = ((line[first], first) for line in lines if (first := _first(line)) is not None)
        since, oldest = min(firsts, key=lambda pair: pair[0], default=(now, None))
        return oldest if now - since >= self._rested_s else None


def network_of(address: str) -> str:
    """Of IPv6 the network of 64 bits: that is what one customer has."""
    if ":" not in address:
        return address
    try:
        found = ipaddress.IPv6Address(address.partition("%")[0])
    except ValueError:
        return address
    return str(found.ipv4_mapped or ipaddress.IPv6Network((found, 64), strict=False))


def _first(line: Line) -> Connection | None:
    return next(iter(line), None)


def _longest(lines: Mapping[str, Line]) -> Line:
    return max(lines.values(), key=len, default={})
