"""Leaves out a peer that keeps its callers waiting for nothing."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from clip_core.periodic import doubled

_LONGEST_S = 60.0


class PeerDown(Exception):
    """The call was not made: one before it failed after a long wait."""


class PeerBreaker:
    """After a call that failed slower than `patience_s`, none is made for `pause_s`, then one to try.

    The pause doubles with each further failure, up to `longest_s`. Failures that come at once cost nobody anything.
    """

    def __init__(
        self,
        patience_s: float = 0.5,
        pause_s: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
        longest_s: float = _LONGEST_S,
    ) -> None:
        self._patience_s, self._pause_s, self._clock, self._longest_s = patience_s, pause_s, clock, longest_s
        self._lock, self._failures, self._again_at = threading.Lock(), 0, 0.0

    @contextmanager
    def call(self) -> Iterator[None]:
        """Around a call. Raises PeerDown instead of making it; what the call raises passes."""
        self._enter()
        started = self._clock()
        try:
            yield
        except Exception:
            if self._clock() - started >= self._patience_s:
                self._failed()
            raise
        with self._lock:
            self._failures = 0

    def forget(self) -> None:
        """The next call is made, whatever happened before."""
        with self._lock:
            self._again_at = 0.0

    def _enter(self) -> None:
        with self._lock:
            if self._failures:
                if self._clock() < self._again_at:
                    raise PeerDown("it did not answer before, and is asked again in a moment")
                self._pause()  # for all but this one

    def _failed(self) -> None:
        with self._lock:
            self._failures += 1
            self._pause()

    def _pause(self) -> None:
        self._again_at = self._clock() + doubled(self._pause_s, self._failures - 1, self._longest_s)
