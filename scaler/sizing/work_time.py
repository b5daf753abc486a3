"""How long an item keeps a worker busy, learned from how long items stay when none waits."""

from __future__ import annotations

from collections import deque

import numpy as np

_KEPT = 720  # intervals with served items
_QUIET = 0.25  # of them are taken to be without waiting
_MOST_WAITING = 1.0  # waiting counts at most as much as the work itself
_UNKNOWN_S = 0.05


class WorkTime:
    """Seconds an item. Items that run together each count in full, as they do in the demand."""

    def __init__(self) -> None:
        self._stays: deque[float] = deque(maxlen=_KEPT)

    def see(self, stay_s: float) -> None:
        self._stays.append(stay_s)

    @property
    def seconds(self) -> float:
        return float(np.quantile(self._stays, _QUIET)) if self._stays else _UNKNOWN_S

    def with_waiting(self, stay_s: float | None) -> float:
        """What an item counts for now. In an overload the stay says how long the queue is, not how much work comes."""
        usual = self.seconds
        return usual if stay_s is None else min(max(stay_s, usual), (1 + _MOST_WAITING) * usual)
