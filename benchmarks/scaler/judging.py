"""The series simulated under every policy, and compared at the worker-hours of the tuned HPA."""

from __future__ import annotations

import math
from collections.abc import Mapping
from statistics import median
from typing import Any

import numpy as np

from benchmarks.scaler import policies, worlds
from benchmarks.scaler.frontiers import frontier, hours_at, minutes_at, ratio
from benchmarks.scaler.policies import Points
from benchmarks.scaler.simulator import PER_MINUTE, Service
from scaler.forecast.forecaster import Backtest, backtest, judged
from scaler.forecast.points import FloatArray
from scaler.past import horizon_minutes

TUNED = 0.005  # of the minutes are over the SLO under the tuned HPA: 50 a week
Named = dict[str, dict[str, Points]]
"""Series → family → a point for each of its settings."""


def simulate(series: Mapping[str, FloatArray], stress: str | None, service: Service, *, every: bool) -> Named:
    """`every`: all families, else the two that bars compare."""
    steps = worlds.worlds(series, stress)
    loads, horizon = worlds.judged(steps), horizon_minutes(service.start_s / 60)
    families = []
    for world, load in zip(steps, loads, strict=True):
        seen = worlds.measured(world)
        found = _judged(backtest(seen, policies.QUANTILES, horizon, worlds.HISTORY - judged(horizon)), load)
        chosen = (
            policies.all_families(seen, load, found, service, horizon) if every else policies.rivals(found, service)
        )
        families.append(chosen)
    return dict(zip(series, policies.run(loads, families, service), strict=True))


def _judged(found: Backtest, load: FloatArray) -> Backtest:
    minutes = len(load) // PER_MINUTE
    return Backtest(found.upper[:, -minutes:], found.point[-minutes:], found.chosen[-minutes:])


def minutes_over() -> float:
    return TUNED * worlds.JUDGED


def ratios(found: Named) -> dict[str, float]:
    """Series → our minutes over the SLO ÷ the tuned HPA's, at its worker-hours."""
    return {
        name: ratio(frontier(families["ours"]), frontier(families["HPA"]), minutes_over())
        for name, families in found.items()
    }


def compared(families: Mapping[str, Points]) -> dict[str, Any]:
    """Of one series, at the tuned HPA's worker-hours: each family's minutes over; and the hours of the oracle."""
    hpa = frontier(families["HPA"])
    hours = hours_at(hpa, minutes_over())
    others = {name: minutes_at(frontier(points), hours) for name, points in families.items() if name != "oracle"}
    minutes = {name: None if math.isinf(value) else round(value, 1) for name, value in others.items()}
    oracle = families.get("oracle")
    oracle_hours = round(oracle[0][0], 1) if oracle else None
    return {"worker_hours": round(hours, 1), "minutes_over": minutes, "oracle_hours": oracle_hours}


def median_ratio(found: Named) -> float:
    return median(ratios(found).values())


def lines(found: Named) -> dict[str, dict[str, list[list[float]]]]:
    """Frontiers for the report: series → family → [worker-hours, minutes over]."""
    return {
        name: {family: np.round(frontier(points), 1).tolist() for family, points in families.items()}
        for name, families in found.items()
    }
