"""Rates by the minute, as long as forecasts look back; minutes that nothing was seen of are gaps."""

from __future__ import annotations

import os
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from scaler.forecast.points import DAY, FloatArray

_SHORT = 10  # minutes: shorter gaps are filled by what was before, longer ones by the day before
_PARTS = 2  # saved numbers before the rates: the first minute, and how many


class MinuteRates:
    """The last `most` minutes. A minute is a whole number: seconds since 1970 by 60."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._rates: FloatArray = np.empty(0)
        self._seconds: FloatArray = np.empty(0)  # how much of each minute was seen
        self._first = 0

    @classmethod
    def of(cls, first: int, rates: FloatArray, seconds: float) -> MinuteRates:
        """Each of `rates` seen for so many seconds, from the minute `first` on."""
        made = cls(len(rates) + 1)
        made._first, made._rates, made._seconds = first, rates.copy(), np.full(len(rates), seconds)
        return made

    def __len__(self) -> int:
        return len(self._rates)

    @property
    def last(self) -> int | None:
        """The last minute; None while there is none."""
        return self._first + len(self._rates) - 1 if len(self._rates) else None

    def add(self, minute: int, rate: float, seconds: float) -> None:
        """`rate` was seen for `seconds` of this minute.

        A clock set back takes the minutes after it away: they have not been yet. Set forward it leaves a gap.
        """
        if not len(self._rates) or minute - self._first >= 2 * self._most or minute < self._first:
            self._first, self._rates, self._seconds = minute, np.empty(0), np.empty(0)
        size = minute - self._first + 1
        if size < len(self._rates):
            self._rates, self._seconds = self._rates[:size], self._seconds[:size]
        missing = size - len(self._rates)
        self._rates = np.append(self._rates, np.full(missing, np.nan))
        self._seconds = np.append(self._seconds, np.zeros(missing))
        seen = self._seconds[-1] + seconds
        before = 0.0 if np.isnan(self._rates[-1]) else self._rates[-1] * self._seconds[-1]
        self._rates[-1], self._seconds[-1] = (before + rate * seconds) / seen, seen
        over = len(self._rates) - self._most
        if over > 0:
            self._first, self._rates, self._seconds = self._first + over, self._rates[over:], self._seconds[over:]

    def whole(self) -> FloatArray:
        """(T,) without gaps and without the minute that is not over yet."""
        return filled(self._rates[:-1])

    def save(self, path: Path) -> None:
        """Whole or not at all. Raises OSError."""
        part = path.with_name(f"{path.name}.part")
        with part.open("wb") as file:
            np.save(file, np.concatenate([[self._first, len(self._rates)], self._rates, self._seconds]))
        os.replace(part, path)

    def load(self, path: Path) -> None:
        """Nothing where there is no file. Raises ValueError for one that makes no sense, OSError."""
        if not path.exists():
            return
        with path.open("rb") as file:
            try:
                numbers = np.load(file, allow_pickle=False)
            except (EOFError, BadZipFile) as error:  # an empty file; one that begins like a zip
                raise ValueError(f"{path} holds no rates") from error
        if numbers.ndim != 1 or len(numbers) < _PARTS or len(numbers) != _PARTS + 2 * int(numbers[1]):
            raise ValueError(f"{path} holds no rates")
        rates, seconds = np.split(numbers[_PARTS:].astype(np.float64), 2)
        self._first, self._rates, self._seconds = int(numbers[0]), rates[-self._most :], seconds[-self._most :]
        self._first += len(rates) - len(self._rates)


def filled(rates: FloatArray) -> FloatArray:
    """(T,): short gaps by the minute before, longer ones by the same minute a day before, or else also by that."""
    found = rates.copy()
    for start, end in gaps(rates):
        found[start:end] = found[start - 1] if start else 0.0
        if end - start > _SHORT and start >= DAY:
            for begin in range(start, end, DAY):
                stop = min(end, begin + DAY)
                found[begin:stop] = found[begin - DAY : stop - DAY]
    return found


def gaps(rates: FloatArray) -> list[tuple[int, int]]:
    """Start and end of each run of NaN."""
    missing = np.concatenate([[False], np.isnan(rates), [False]]).astype(np.int8)
    edges = np.flatnonzero(np.diff(missing))
    return [(int(start), int(end)) for start, end in edges.reshape(-1, 2)]
