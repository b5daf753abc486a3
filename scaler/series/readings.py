"""Counters of one endpoint at two moments → what was asked between them."""

from __future__ import annotations

import math
from dataclasses import astuple, dataclass


@dataclass(frozen=True)
class Reading:
    """Counters as they were at `at`, in seconds of a clock that never jumps."""

    at: float
    items: float
    refused_items: float
    item_seconds: float

    @property
    def is_whole(self) -> bool:
        """Whether every counter is a number that a counter can have."""
        return all(math.isfinite(each) for each in astuple(self)) and min(astuple(self)[1:]) >= 0


@dataclass(frozen=True)
class Interval:
    """What was asked in `seconds`; `items` counts refused ones, too."""

    seconds: float
    items: float
    refused_items: float
    item_seconds: float

    @property
    def rate(self) -> float:
        """Items a second, refused ones included."""
        return self.items / self.seconds

    @property
    def here(self) -> float:
        """The mean number of items that ran or waited."""
        return self.item_seconds / self.seconds

    @property
    def stay_s(self) -> float | None:
        """Seconds that an item ran and waited; None when none was served."""
        served = self.items - self.refused_items
        return self.item_seconds / served if served > 0 else None


def interval(before: Reading | None, after: Reading) -> Interval | None:
    """None where nothing can be told: no reading before, no time between them, or a number that is none.

    A counter that is lower than before was reset: it has counted from 0 since.
    """
    if before is None or not (before.is_whole and after.is_whole):
        return None
    seconds = after.at - before.at
    if seconds <= 0:
        return None
    was_reset = any(now < then for now, then in zip(astuple(after)[1:], astuple(before)[1:], strict=True))
    items, refused, busy = (
        now - (0.0 if was_reset else then) for now, then in zip(astuple(after)[1:], astuple(before)[1:], strict=True)
    )
    return Interval(seconds, items, min(items, refused), busy)
