"""The rule: max(reactive, forecast). It takes numbers or arrays, so that the service and the simulator share it."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np

from scaler.forecast.points import FloatArray

TOLERANCE = 0.1  # relative distances to the target that change nothing, as in Kubernetes' HPA
_EPSILON = 1e-9  # 3.0000000001 workers are 3
Numbers: TypeAlias = "float | FloatArray"


def desired_workers(demand: Numbers, size: Numbers, floor: Numbers, target: Numbers, tolerance: Numbers) -> FloatArray:
    """Workers that should be there: the larger one of `floor` and what `demand` (busy workers) needs at `target`.

    `size`: workers that are there or start. Demand near the target leaves it as it is.
    """
    known = np.maximum(size, 1.0) * np.asarray(target, np.float64)
    near = (np.abs(demand / known - 1) <= tolerance) & (np.asarray(floor) <= size)
    reactive = np.where(near, size, workers(demand, target))
    return np.asarray(np.maximum(floor, reactive), np.float64)


def allowed_utilization(demand: Numbers, floor: Numbers, target: Numbers, ceiling: Numbers) -> FloatArray:
    """How busy the reactive rule lets workers be: `ceiling` beside a forecast, `target` without one.

    Also where the demand is more than all of the forecast's workers can do: then the forecast has missed something.
    """
    has_forecast = (np.asarray(floor) > 0) & (np.asarray(demand) <= floor)
    return np.asarray(np.where(has_forecast, ceiling, target), np.float64)


def workers(load: Numbers, share: Numbers) -> FloatArray:
    """Whole workers for `load` busy ones, each busy for `share` of its time."""
    return np.asarray(np.ceil(np.divide(load, share) - _EPSILON), np.float64)
