"""Holt-Winters on the history of replicas, as Predictive Horizontal Pod Autoscalers use it (jthomperoo/PHPA)."""

from __future__ import annotations

import numpy as np

from scaler.forecast.points import DAY, FloatArray

EVERY = 5  # minutes of one value
_ALPHA, _BETA, _GAMMA = 0.5, 0.0, 0.3


def holt_winters(series: FloatArray, ahead: int, season: int = DAY // EVERY) -> FloatArray:
    """(W, N) → (W, N): additive, at t the forecast of t + ahead from what was seen up to t. Winters, 1960."""
    level, trend = series[:, 0].copy(), np.zeros(len(series))
    seasons = series[:, :season] - series[:, :season].mean(axis=1, keepdims=True)
    found = np.empty_like(series)
    for step in range(series.shape[1]):
        slot, value = step % season, series[:, step]
        before = level
        level = _ALPHA * (value - seasons[:, slot]) + (1 - _ALPHA) * (level + trend)
        trend = _BETA * (level - before) + (1 - _BETA) * trend
        seasons[:, slot] = _GAMMA * (value - level) + (1 - _GAMMA) * seasons[:, slot]
        found[:, step] = level + ahead * trend + seasons[:, (step + ahead) % season]
    return found
