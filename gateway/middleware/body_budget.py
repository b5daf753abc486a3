"""How many bytes of request bodies the gateway holds at once, and which body ends when there are too many.

What has arrived counts; a declared length reserves nothing. When the budget is used up, an unfinished body of the
caller that holds the most ends: the one with the most bytes times the time since its last piece. So whoever fills the
gateway makes room for the others, and an upload that makes progress outlives those that stand still. Bodies of at most
64 KB may also use a reserve that larger ones leave free.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from clip_core.errors import ClipServeError, Overloaded, TooSlow
from gateway.counts import Counts

SMALL_BYTES = 64 * 1024
_RESERVE = 1 / 8
_GRACE_S = 1.0  # in which a body is not slow yet: a burst comes on many new connections at once
_FULL = "the gateway holds as many bytes of unanswered requests as it may; send this one again in a moment"
_TOO_MANY = "too many of your requests are half sent, and this one came the slowest; send it again"


@dataclass(eq=False, slots=True)
class Body:
    """One request's body. `give_up` ends the request with the error given.

    What has come of it is kept in `content` and nowhere else, so that it is freed at once when the body ends.
    """

    caller: str
    give_up: Callable[[ClipServeError], None]
    streamed: bool = False
    bytes: int = 0
    began: float = field(default_factory=time.monotonic)
    moved: float = 0.0
    content: bytearray = field(default_factory=bytearray)

    def rate(self, now: float) -> float:
        """Bytes a second since it began."""
        return self.bytes / max(now - self.began, 1e-3)

    def idle(self, now: float) -> float:
        """Bytes held times the seconds since the last piece."""
        return self.bytes * (now - self.moved)


class BodyBudget:
    """Counts on the event loop, where nothing else runs in between."""

    def __init__(self, most_bytes: int, most_unfinished: int) -> None:
        """`most_unfinished` is for each caller: beyond it the slowest ends, but for whole and new ones."""
        self.held = 0
        self._most_bytes, self._most_unfinished = most_bytes, most_unfinished
        self._most_large = int(most_bytes * (1 - _RESERVE))
        self._unfinished: dict[Body, None] = {}
        self._number = Counts()
        self._by_caller = Counts()

    def begin(self, body: Body) -> None:
        """Its first byte is waited for."""
        self._unfinished[body] = None
        if self._number.add(body.caller, 1) > self._most_unfinished:
            self._end_slowest(body)

    def add(self, body: Body, size: int, *, whole: bool) -> None:
        """More of it has arrived. Once it is whole it ends only when there is no unfinished one to end instead."""
        if whole:
            self._finish(body)
        body.moved = time.monotonic()
        body.bytes += size
        self.held += size
        self._by_caller.add(body.caller, size)
        most = self._most_bytes if body.bytes <= SMALL_BYTES else self._most_large
        while self.held > most and body.bytes:
            self._stop(self._idlest() or body)

    def hold(self, body: Body, size: int) -> None:
        """Its request holds so many bytes more than have arrived."""
        self.add(body, size, whole=body not in self._unfinished)

    def end(self, body: Body) -> None:
        """Its request is over."""
        self._finish(body)
        self.let_go(body)

    def let_go(self, body: Body) -> None:
        """What has arrived so far is held no longer."""
        self._by_caller.add(body.caller, -body.bytes)
        self.held -= body.bytes
        body.bytes = 0
        body.content = bytearray()

    def _idlest(self) -> Body | None:
        now = time.monotonic()
        holding = (body for body in self._unfinished if body.bytes)
        return max(holding, key=lambda body: (self._by_caller[body.caller], body.idle(now)), default=None)

    def _end_slowest(self, newest: Body) -> None:
        now = time.monotonic()
        slow = [
            body
            for body in self._unfinished
            if body.caller == newest.caller and not body.streamed and now - body.began > _GRACE_S
        ]
        if slow:
            self._stop(min(slow, key=lambda body: body.rate(now)), TooSlow(_TOO_MANY))

    def _stop(self, body: Body, error: ClipServeError | None = None) -> None:
        self.end(body)
        body.give_up(error or Overloaded(_FULL))

    def _finish(self, body: Body) -> None:
        if body in self._unfinished:
            del self._unfinished[body]
            self._number.add(body.caller, -1)
