"""Sizes shrink only to the largest one of the last minutes: what was needed a moment ago may be needed again."""

from __future__ import annotations

from collections import deque


class Calm:
    """`seconds` for which a wish holds. The clock is the caller's."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._wishes: deque[tuple[float, int]] = deque()  # falling

    def largest(self, wish: int, now: float) -> int:
        """The largest wish of the last `seconds`, this one included."""
        while self._wishes and self._wishes[-1][1] <= wish:
            self._wishes.pop()
        self._wishes.append((now, wish))
        while now - self._wishes[0][0] > self._seconds:
            self._wishes.popleft()
        return self._wishes[0][1]
