"""The policies that are compared, as lanes of the simulator: each family is swept over its own settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product

import numpy as np

from benchmarks.scaler.holt_winters import EVERY, holt_winters
from benchmarks.scaler.simulator import Lanes, Service, oracle, simulate
from scaler.forecast.conformal import band
from scaler.forecast.forecaster import Backtest
from scaler.forecast.points import DAY, FloatArray, last_value, peak_ahead
from scaler.sizing.rule import TOLERANCE, workers

QUANTILES = np.array([0.8, 0.9, 0.95, 0.99])
CEILINGS = ((0, 1.0), (1, 1.0), (2, 1.0), (3, 1.0), (3, 0.85))  # by quantile: of what the SLO allows
TARGETS = np.concatenate([np.arange(0.3, 0.59, 0.05), np.arange(0.6, 0.876, 0.025)])
CALM_S = (0, 60, 300)  # an HPA's stabilizationWindowSeconds when it scales down
Points = list[tuple[float, float, float]]
"""Worker-hours, minutes over the SLO and the share of the work that was refused, one a setting."""


@dataclass(frozen=True)
class SizePolicy:
    """One setting of a family on one series: `floor` (minutes,), the rest as in `Lanes`."""

    floor: FloatArray
    target: float = np.inf
    beside: float = np.inf
    calm_s: int = 0
    tolerance: float = 0.0


Families = Mapping[str, list[SizePolicy]]


def run(loads: FloatArray, families: list[Families], service: Service) -> list[dict[str, Points]]:
    """`families[w]` on `loads[w]` (W, steps)."""
    flat = [(world, name, each) for world, named in enumerate(families) for name, of in named.items() for each in of]
    lanes = Lanes(
        np.array([world for world, _, _ in flat], np.intp),
        np.stack([each.floor for _, _, each in flat]),
        np.array([each.target for _, _, each in flat]),
        np.array([each.beside for _, _, each in flat]),
        np.array([each.calm_s // 60 for _, _, each in flat], np.intp),
        np.array([each.tolerance for _, _, each in flat]),
    )
    out = simulate(loads, lanes, service)
    found: list[dict[str, Points]] = [{} for _ in families]
    for place, (world, name, _) in enumerate(flat):
        point = float(out.worker_hours[place]), float(out.minutes_over[place]), float(out.refused[place])
        found[world].setdefault(name, []).append(point)
    return found


def all_families(seen: FloatArray, load: FloatArray, found: Backtest, service: Service, horizon: int) -> Families:
    """`seen` (minutes,): the load by the minute, history first; `load` (steps,) and `found`: of the judged minutes."""
    minutes = len(found.point)
    return {
        **rivals(found, service),
        "last value": last_values(seen, minutes, service, horizon),
        "Holt-Winters": phpa(seen, minutes, horizon),
        "static": [
            SizePolicy(np.full(minutes, float(size))) for size in range(1, int(load.max() / service.busiest) + 3)
        ],
        "oracle": [SizePolicy(oracle(load[None], service)[0])],
    }


def rivals(found: Backtest, service: Service) -> Families:
    """The two that bars compare."""
    return {"HPA": hpa(len(found.point)), "ours": forecast(found, service)}


def hpa(minutes: int) -> list[SizePolicy]:
    nothing = np.zeros(minutes)
    return [SizePolicy(nothing, target, target, calm, TOLERANCE) for target, calm in product(TARGETS, CALM_S)]


def forecast(found: Backtest, service: Service) -> list[SizePolicy]:
    """Ours: the floor from each quantile; where no season is chosen, an HPA's rule with each of its settings."""
    upper, swept = np.where(found.chosen > 0, np.nan_to_num(found.upper), 0.0), []
    if not upper.any():
        return hpa(len(found.point))  # it is off throughout
    for place, share in CEILINGS:
        ceiling = share * service.busiest
        floor = workers(upper[place], ceiling)
        swept += [SizePolicy(floor, target, ceiling, calm, TOLERANCE) for target, calm in product(TARGETS, CALM_S)]
    return swept


def last_values(seen: FloatArray, minutes: int, service: Service, horizon: int) -> list[SizePolicy]:
    """The last value with its own conformal band, in place of a season."""
    upper = band(last_value(seen), peak_ahead(seen, horizon), QUANTILES, horizon=horizon, window=DAY)[:, -minutes:]
    floors = workers(upper, service.busiest)
    return [
        SizePolicy(floor, service.busiest, service.busiest, calm, TOLERANCE) for floor, calm in product(floors, CALM_S)
    ]


def phpa(seen: FloatArray, minutes: int, horizon: int) -> list[SizePolicy]:
    """The larger one of an HPA's size and of Holt-Winters on its replicas, as PHPA decides."""
    mean = seen[: len(seen) // EVERY * EVERY].reshape(-1, EVERY).mean(axis=1)
    replicas = np.stack([workers(mean, target) for target in TARGETS])
    ahead = max(1, round(horizon / EVERY))
    floors = np.ceil(np.maximum(0.0, holt_winters(replicas, ahead)) - 0.5)  # to the nearest, as PHPA rounds
    later = np.repeat(np.roll(floors, 1, axis=1), EVERY, axis=1)[:, -minutes:]  # known when its minutes are over
    return [
        SizePolicy(floor, target, target, calm, TOLERANCE)
        for (floor, target), calm in product(zip(later, TARGETS, strict=True), CALM_S)
    ]
