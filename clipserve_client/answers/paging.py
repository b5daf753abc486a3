"""Where an iterator over pages stands."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Generic, TypeVar

T = TypeVar("T")
Key = TypeVar("Key", str, int)


class Pages(Generic[T, Key]):
    """`after` is what the next page is asked with; `ended` once there is none or `limit` things were taken."""

    def __init__(self, limit: int | None = None, after: Key | None = None) -> None:
        self._left = limit
        self.after: Key | None = after
        self.ended = limit == 0

    def taken(self, things: Sequence[T], after: Key | None) -> Sequence[T]:
        """Those of the page that count."""
        taken = things if self._left is None else things[: self._left]
        if self._left is not None:
            self._left -= len(taken)
        self.after, self.ended = after, after is None or self._left == 0
        return taken
