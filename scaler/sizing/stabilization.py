"""Sizes shrink only to the largest one of the last minutes: what was needed a moment ago may be needed again."""

from __future__ import annotations

from collections import deque


class StabilizationWindow:
    """`seconds` for which a size holds. The clock is the caller's."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._sizes: deque[tuple[float, int]] = deque()  # falling

    def largest(self, size: int, now: float) -> int:
        """The largest size of the last `seconds`, this one included."""
        while self._sizes and self._sizes[-1][1] <= size:
            self._sizes.pop()
        self._sizes.append((now, size))
        while now - self._sizes[0][0] > self._seconds:
            self._sizes.popleft()
        return self._sizes[0][1]
