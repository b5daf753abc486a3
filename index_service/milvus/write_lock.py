"""Writes that may go on together, and writes that must be alone."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class WriteLock:
    """Any number of `shared` blocks at once, or one that is `alone`, which goes before shared ones that wait."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._inside, self._alone, self._waiting = 0, False, 0

    @contextmanager
    def shared(self) -> Iterator[None]:
        """Beside others like it."""
        with self._changed:
            self._changed.wait_for(lambda: not self._alone and not self._waiting)
            self._inside += 1
        try:
            yield
        finally:
            with self._changed:
                self._inside -= 1
                self._changed.notify_all()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Beside none."""
        with self._changed:
            self._waiting += 1
            self._changed.wait_for(lambda: not self._alone and not self._inside)
            self._waiting -= 1
            self._alone = True
        try:
            yield
        finally:
            with self._changed:
                self._alone = False
                self._changed.notify_all()
