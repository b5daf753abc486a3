"""How many batches are under way: half as many when the gateway says 429, one more after a while of successes."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

_MORE_AFTER = 4  # successes in a row


class Pace:
    """Shared by the threads that send. Once `stop` is set, nobody waits any more."""

    def __init__(self, most: int, stop: threading.Event) -> None:
        self.width, self._most, self._stop = most, most, stop
        self._under_way, self._good, self._not_before = 0, 0, 0.0
        self._changed = threading.Condition()

    @contextmanager
    def turn(self) -> Iterator[None]:
        """One batch under way."""
        with self._changed:
            while not self._stop.is_set() and self._wait_s() > 0:
                self._changed.wait(self._wait_s())
            self._under_way += 1
        try:
            yield
        finally:
            with self._changed:
                self._under_way -= 1
                self._changed.notify_all()

    def _wait_s(self) -> float:
        early = self._not_before - time.monotonic()
        return max(early, 0.05) if early > 0 or self._under_way >= self.width else 0.0

    def went_well(self) -> None:
        with self._changed:
            self._good += 1
            if self._good >= _MORE_AFTER and self.width < self._most:
                self.width, self._good = self.width + 1, 0

    def slower(self, pause_s: float) -> None:
        """The gateway has too much: nothing is sent for a moment, then half as much at once."""
        with self._changed:
            self._good, self.width = 0, max(1, self.width // 2)
            self._not_before = max(self._not_before, time.monotonic() + pause_s)
