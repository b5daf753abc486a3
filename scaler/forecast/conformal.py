"""Split conformal prediction over a moving window: how far off recent forecasts were, at a quantile.

A residual is relative to the forecast, with a floor, so that quiet nights and busy days share a window (Vovk et al.,
2005; for series Xu & Xie, 2021). A residual at t is known once its horizon has passed.
"""

from __future__ import annotations

import numpy as np

from scaler.forecast.points import FloatArray

EVERY = 10  # minutes for which quantiles hold
_FLOOR = 0.05  # of the typical rate: what a residual is relative to at least


def residuals(point: FloatArray, peak: FloatArray, floor: float) -> FloatArray:
    """(T,): (what came - forecast) / forecast; NaN where either isn't known."""
    size = min(len(point), len(peak))
    found = np.full(len(point), np.nan)
    found[:size] = (peak[:size] - point[:size]) / (point[:size] + floor)
    return found


def band(point: FloatArray, peak: FloatArray, quantiles: FloatArray, *, horizon: int, window: int) -> FloatArray:
    """(Q, T): the forecast at each quantile; NaN until a window of residuals is known.

    `peak` (up to T,) is what `point` forecast, as far as it is known.
    """
    floor = _FLOOR * float(np.nanmean(peak)) + 1e-9 if np.isfinite(peak).any() else 1e-9
    errors = residuals(point, peak, floor)
    spread = rolling_quantiles(errors, quantiles, lag=horizon, window=window)
    return np.maximum(0.0, point + spread * (point + floor))


def rolling_quantiles(
    values: FloatArray, quantiles: FloatArray, *, lag: int, window: int, every: int = EVERY, stride: int = 3
) -> FloatArray:
    """(Q, T): at t of values[t - lag - window + 1 … t - lag], each `stride`-th one, renewed `every` minutes.

    NaN where the window is not whole, or holds NaN.
    """
    found = np.full((len(quantiles), len(values)), np.nan)
    ends = np.arange(len(values) - 1, lag + window - 2, -every)[::-1]
    if not len(ends):
        return found
    offsets = np.arange(-lag - window + 1, -lag + 1, stride)
    windows = np.sort(values[ends[:, None] + offsets[None, :]], axis=1)  # NaN last
    size = len(offsets)
    ranks = np.minimum(size - 1, np.ceil((size + 1) * quantiles).astype(int) - 1)
    at_ends = np.where(np.isnan(windows[:, -1]), np.nan, windows[:, ranks].T)  # (Q, E)
    spans = np.repeat(np.arange(len(ends)), np.diff(np.append(ends, len(values))))
    found[:, ends[0] :] = at_ends[:, spans]
    return found


def pinball(forecast: FloatArray, peak: FloatArray, quantile: float) -> FloatArray:
    """(T,): the loss that the quantile minimises; NaN where it isn't known."""
    size = min(len(forecast), len(peak))
    loss = np.full(len(forecast), np.nan)
    miss = peak[:size] - forecast[:size]
    loss[:size] = np.maximum(quantile * miss, (quantile - 1) * miss)
    return loss
