"""The newest rows, in memory that is taken once."""

from __future__ import annotations

import numpy as np

from gateway.history.figures import Rows


class Ring:
    """At most `most` rows of `width` numbers."""

    def __init__(self, most: int, width: int) -> None:
        self._rows: Rows = np.empty((most, width))
        self._added = 0

    @property
    def nbytes(self) -> int:
        return self._rows.nbytes

    def __len__(self) -> int:
        return min(self._added, len(self._rows))

    def add(self, row: Rows) -> None:
        self._rows[self._added % len(self._rows)] = row
        self._added += 1

    def all(self) -> Rows:
        """(N, width), the oldest first; a copy."""
        if self._added > len(self._rows):
            return np.roll(self._rows, -self._added, axis=0)
        return self._rows[: self._added].copy()
