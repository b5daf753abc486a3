"""The forecast that decisions use: the best of the candidates by their recent loss, with its band.

A season is used only while its pinball loss over the last day is below that of the last value: else the forecast is
off, and says so.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from scaler.forecast.conformal import EVERY, band, pinball
from scaler.forecast.points import DAY, WEEK, FloatArray, candidates, peak_ahead, trailing_mean

NAMES = ("last value", "week", "day")
_JUDGED = DAY  # minutes over which losses are compared
_WINDOW = DAY  # minutes of residuals
_BETTER = 0.97  # a season must lose less than so many times the last value's loss

IndexArray = npt.NDArray[np.intp]


@dataclass(frozen=True)
class Backtest:
    """A series forecast at each of its minutes: `upper` (Q, T), `point` (T,), `chosen` (T,) indexes of NAMES.

    NaN while no candidate has a band yet.
    """

    upper: FloatArray
    point: FloatArray
    chosen: IndexArray


def backtest(series: FloatArray, quantiles: FloatArray, horizon: int, since: int = 0) -> Backtest:
    """Each minute's forecast of the highest rate of the next `horizon` minutes, from what came before it.

    The candidate is chosen by its loss at the middle one of `quantiles`. Minutes before `since` are history only.
    """
    peak = peak_ahead(series, horizon)[since:]
    points = [each[since:] for each in candidates(series, horizon)]
    bands = np.stack([band(each, peak, quantiles, horizon=horizon, window=_WINDOW) for each in points])  # (C, Q, T)
    chosen = _choose(bands, peak, quantiles, horizon)
    minutes = np.arange(len(points[0]))
    return Backtest(bands[chosen, :, minutes].T, np.stack(points)[chosen, minutes], chosen)


def _choose(bands: FloatArray, peak: FloatArray, quantiles: FloatArray, horizon: int) -> IndexArray:
    middle = len(quantiles) // 2
    losses = np.stack([recent_loss(each[middle], peak, float(quantiles[middle]), horizon) for each in bands])
    losses[1:] /= _BETTER
    return np.asarray(np.argmin(np.where(np.isnan(losses), np.inf, losses), axis=0), np.intp)


def recent_loss(forecast: FloatArray, peak: FloatArray, quantile: float, horizon: int) -> FloatArray:
    """(T,): the mean pinball loss of the forecasts of the last day whose outcome is known."""
    means = trailing_mean(pinball(forecast, peak, quantile), _JUDGED)
    known = np.full(len(means), np.nan)
    known[horizon:] = means[: len(means) - horizon]
    return known


def needed(horizon: int) -> int:
    """Minutes of the past that a forecast now takes into account."""
    return 3 * WEEK + judged(horizon)


def judged(horizon: int) -> int:
    """Minutes of the past for which forecasts are made to judge the one now."""
    return _JUDGED + _WINDOW + 2 * horizon + EVERY


@dataclass(frozen=True)
class Forecast:
    """The highest rate of the minutes to come: expected, and not exceeded at the quantile. `by`: one of NAMES."""

    point: float
    upper: float
    by: str

    @property
    def is_on(self) -> bool:
        """Whether a season has forecast better than the last value lately."""
        return self.by != NAMES[0]


def forecast_now(series: FloatArray, quantile: float, horizon: int) -> Forecast | None:
    """From the minutes up to now, (T,) without gaps; None while they are too few, or say nothing."""
    since = len(series) - judged(horizon)
    if since < 0:
        return None
    found = backtest(series, np.array([quantile]), horizon, since)
    point, upper = float(found.point[-1]), float(found.upper[0, -1])
    return Forecast(point, upper, NAMES[found.chosen[-1]]) if np.isfinite([point, upper]).all() else None
