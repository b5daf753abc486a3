"""Frontiers of worker-hours against minutes over the SLO, and two of them compared at equal worker-hours."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from scaler.forecast.points import FloatArray

Point = Sequence[float]  # worker-hours, minutes over the SLO, …


def frontier(points: Sequence[Point]) -> FloatArray:
    """(N, 2): those that no other beats in both, by worker-hours."""
    kept: list[tuple[float, float]] = []
    for hours, minutes in sorted((point[0], point[1]) for point in points):
        if not kept or minutes < kept[-1][1]:
            kept.append((hours, minutes))
    return np.array(kept)


def minutes_at(line: FloatArray, hours: float) -> float:
    """Between two points of a frontier the mix of both; infinity for fewer hours than any setting has."""
    return float(np.interp(hours, line[:, 0], line[:, 1], left=np.inf))


def hours_at(line: FloatArray, minutes: float) -> float:
    """The worker-hours at which a frontier has so many minutes over; its ends beyond them."""
    return float(np.interp(-minutes, -line[:, 1], line[:, 0]))


def ratio(ours: FloatArray, theirs: FloatArray, minutes: float) -> float:
    """Our minutes over ÷ theirs at the worker-hours at which they have `minutes`; both plus one, for zeros."""
    hours = hours_at(theirs, minutes)
    return (minutes_at(ours, hours) + 1) / (minutes_at(theirs, hours) + 1)
