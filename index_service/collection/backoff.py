"""How long to wait before what failed is tried again: twice as long each time, up to ten minutes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from clip_core.periodic import doubled

_FIRST_S, _MOST_S = 1.0, 600.0


def wait_after(failures: int) -> float:
    """Seconds, after so many failures in a row; 0 after none."""
    return doubled(_FIRST_S, failures - 1, _MOST_S) if failures else 0.0


def waits() -> Iterator[float]:
    """The waits between endless tries."""
    failures = 0
    while True:
        yield wait_after(failures := failures + 1)


class Retries:
    """How often something failed since it last succeeded, and when it may be tried again."""

    def __init__(self) -> None:
        self.failures = 0
        self._reason, self._next = "", 0.0

    def failed(self, error: BaseException) -> float:
        """Count a failure; the seconds until the next try."""
        self.failures += 1
        wait = wait_after(self.failures)
        self._reason, self._next = f"{type(error).__name__}: {error}"[:200], time.monotonic() + wait
        return wait

    def succeeded(self) -> None:
        """Begin anew."""
        self.failures = 0

    @property
    def left_s(self) -> float:
        """Seconds until it may be tried; 0: now."""
        return max(self._next - time.monotonic(), 0.0) if self.failures else 0.0

    def describe(self) -> dict[str, Any] | None:
        """None while nothing has failed."""
        if not self.failures:
            return None
        return {"failures": self.failures, "error": self._reason, "retry_s": round(self.left_s, 1)}
