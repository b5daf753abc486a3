"""What did not answer a moment ago: nobody waits for it in vain meanwhile."""

from __future__ import annotations

import time
from collections.abc import Callable

RETRY_S = 5.0


class AwayMemory:
    """True for `retry_s` after the last `note`, or until `forget`."""

    def __init__(self, retry_s: float = RETRY_S, clock: Callable[[], float] = time.monotonic) -> None:
        self._retry_s, self._clock, self._until = retry_s, clock, 0.0

    def __bool__(self) -> bool:
        return self._clock() < self._until

    def note(self) -> None:
        self._until = self._clock() + self._retry_s

    def forget(self) -> None:
        self._until = 0.0
