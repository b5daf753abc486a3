"""How much may be under way at once: beyond it, callers are told to come back, before their body is read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from clip_core.errors import Overloaded


class CallLimit:
    """Counts calls on the event loop, where nothing else runs in between."""

    def __init__(self, most: int, what: str, setting: str) -> None:
        self._most, self._what, self._setting = most, what, setting
        self._inside = 0

    @property
    def inside(self) -> int:
        """Calls under way, the one that asks among them."""
        return self._inside

    @contextmanager
    def enter(self) -> Iterator[None]:
        """Raises Overloaded when `most` calls are inside."""
        if self._inside >= self._most:
            raise Overloaded(f"{self._inside} {self._what} are under way, the most allowed ({self._setting})")
        self._inside += 1
        try:
            yield
        finally:
            self._inside -= 1
