"""How long workers take from their start to ready: what forecasts must look ahead."""

from __future__ import annotations

from collections import deque

import numpy as np

_KEPT = 50
_QUANTILE = 0.9


class StartTimes:
    """`usual_s` holds until starts have been seen. Of one endpoint; the clock is the caller's."""

    def __init__(self, usual_s: float) -> None:
        self._usual_s = usual_s
        self._seen: deque[float] = deque(maxlen=_KEPT)
        self._asked: tuple[float, int] | None = None  # when, and for how many

    @property
    def p90_s(self) -> float:
        return float(np.quantile(self._seen, _QUANTILE)) if self._seen else self._usual_s

    def asked(self, size: int, ready: int, now: float) -> None:
        """More were asked for, or fewer; a start that is under way counts from its beginning."""
        self._asked = (self._asked[0] if self._asked else now, size) if size > ready else None

    def see(self, ready: int, now: float) -> None:
        if self._asked is not None and ready >= self._asked[1]:
            self._seen.append(now - self._asked[0])
            self._asked = None
