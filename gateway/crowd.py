"""How many clients may be connected: the connection that is idle for longest makes room for a new one."""

from __future__ import annotations

import asyncio
from typing import Protocol


class Connection(Protocol):
    transport: asyncio.Transport


class Crowd:
    """The idle connections of one server, oldest first, and those that are being turned away."""

    def __init__(self, most: int, rested_s: float = 1.0) -> None:
        """`rested_s`: a client that was just answered, or has just connected, is likely to send a request."""
        self.most, self._rested_s = most, rested_s
        self.turned_away: set[Connection] = set()
        self._idle: dict[Connection, float] = {}

    def rests(self, connection: Connection, now: float) -> None:
        """It has no request under way."""
        self._idle[connection] = now

    def works(self, connection: Connection) -> None:
        self._idle.pop(connection, None)

    def left(self, connection: Connection) -> None:
        self._idle.pop(connection, None)
        self.turned_away.discard(connection)

    def has_room(self, connected: int, now: float) -> bool:
        """For the latest of `connected`; closes the oldest idle connection where that makes room."""
        if connected - len(self.turned_away) <= self.most:
            return True
        oldest = next(iter(self._idle), None)
        if oldest is None or now - self._idle[oldest] < self._rested_s:
            return False
        self.works(oldest)
        oldest.transport.close()
        return True
