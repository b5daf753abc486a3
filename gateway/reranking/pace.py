"""How many pictures a captioner answers in time, so that a budget that ends leaves it little work of no use to anybody.

A worker ends what it has begun, and the next search waits for that. Searches that ask for more than they have time for
would so keep the captioner from each other.
"""

from __future__ import annotations

_RATE = 0.5  # how fast it learns
_SHARE = 0.5  # of the time that is left: the rest is for what it did not foresee


class CaptionerPace:
    """Of one captioner, with its texts and with the work of others. Nothing is known at first."""

    def __init__(self) -> None:
        self._picture_s = 0.0

    def pictures_within(self, seconds: float | None) -> float:
        """That may be asked for together; without limit where there is no end or nothing is known."""
        if seconds is None or not self._picture_s:
            return float("inf")
        return _SHARE * seconds / self._picture_s

    def answered(self, pictures: int, seconds: float) -> None:
        found = seconds / pictures
        self._picture_s += (_RATE if self._picture_s else 1.0) * (found - self._picture_s)

    def unanswered(self, pictures: int, seconds: float) -> None:
        """It takes longer than that."""
        self._picture_s = max(self._picture_s, seconds / pictures)
