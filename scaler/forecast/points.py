"""Point forecasts of the highest rate within the next minutes: from the week, from the day, from the last minutes.

All work on a whole series at once, so that the service and the benchmark run the same code. A series is (T,) float64,
one mean rate a minute, without gaps. A forecast at index t uses minutes up to t only.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
DAY = 1440  # minutes
WEEK = 7 * DAY
_SMOOTH = 9  # minutes, around each
_LEVEL = 15  # minutes over which the level now is compared with the level then
_LAST = 3  # minutes that count as now
_CYCLES = 3  # so many weeks or days back are averaged
_MOST_LEVEL = 4.0  # times the season; beyond that it is no season


def last_value(series: FloatArray) -> FloatArray:
    """(T,): the mean of the last minutes."""
    return trailing_mean(series, _LAST)


def seasonal(series: FloatArray, period: int, horizon: int) -> FloatArray:
    """(T,): the highest of the season's next `horizon` minutes, times level now over level then; NaN before a period.

    The season is the mean of the same minutes in up to three earlier periods, smoothed.
    """
    season = earlier_cycles(centred_mean(series, _SMOOTH), period, horizon)
    now, then = trailing_mean(series, _LEVEL), trailing_mean(season[: len(series)], _LEVEL)
    little = 0.02 * float(np.mean(series)) + 1e-9
    level = np.clip((now + little) / (then + little), 1 / _MOST_LEVEL, _MOST_LEVEL)
    return level * peak_ahead(season, horizon)[: len(series)]


def earlier_cycles(series: FloatArray, period: int, ahead: int) -> FloatArray:
    """(T + ahead,): at each minute the mean of the same minutes of up to three periods before; NaN in the first one."""
    size = len(series) + ahead
    total, count = np.zeros(size), np.zeros(size)
    for back in (period * cycle for cycle in range(1, _CYCLES + 1)):
        known = min(len(series), size - back)
        if known > 0:
            total[back : back + known] += series[:known]
            count[back : back + known] += 1
    with np.errstate(invalid="ignore"):
        return np.where(count > 0, total / count, np.nan)


def peak_ahead(series: FloatArray, horizon: int) -> FloatArray:
    """(T - horizon,): at t the highest of t + 1 … t + horizon."""
    windows = np.lib.stride_tricks.sliding_window_view(series[1:], horizon)
    return np.asarray(windows.max(axis=1), np.float64)


def trailing_mean(series: FloatArray, width: int) -> FloatArray:
    """(T,): the mean of the last `width` minutes, of fewer at the start; NaN where one of them is."""
    if np.isnan(series).any():
        return _with_nan(series, width)
    total = np.concatenate([[0.0], np.cumsum(series)])
    ends = np.arange(1, len(series) + 1)
    starts = np.maximum(0, ends - width)
    return np.asarray(np.maximum(0.0, (total[ends] - total[starts]) / (ends - starts)), np.float64)


def _with_nan(series: FloatArray, width: int) -> FloatArray:
    known = ~np.isnan(series)
    means = trailing_mean(np.where(known, series, 0.0), width)
    return np.where(trailing_mean(known.astype(np.float64), width) > 1 - 1e-9, means, np.nan)


def centred_mean(series: FloatArray, width: int) -> FloatArray:
    """(T,): the mean of the minutes around each, `width` of them and odd; of fewer at both ends."""
    half = width // 2
    total = np.concatenate([[0.0], np.cumsum(series)])
    places = np.arange(len(series))
    starts, ends = np.maximum(0, places - half), np.minimum(len(series), places + half + 1)
    return np.asarray((total[ends] - total[starts]) / (ends - starts), np.float64)


def candidates(series: FloatArray, horizon: int, periods: Sequence[int] = (WEEK, DAY)) -> list[FloatArray]:
    """Last value first, then one for each period; each (T,)."""
    return [last_value(series), *(seasonal(series, period, horizon) for period in periods)]
