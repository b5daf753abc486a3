"""Loads to judge on: real series as they are, with flash crowds, with shuffled hours, and with a shift of level."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from benchmarks.scaler.simulator import PER_MINUTE, STEP_S
from scaler.forecast.points import WEEK, FloatArray

HISTORY = 4 * WEEK  # minutes before the first that is judged
JUDGED = 2 * WEEK
PEAK = 16.0  # busy workers at the 99.9th percentile
STRESSES = ("flash crowd", "shuffled", "level shift")
_NOISE = 0.08  # of each minute's rate, beside what arrivals at random bring
_WORK_S = 0.05  # what one request takes of a worker
_CROWDS, _CROWD, _CROWD_TIMES = 6, 20, 3.0  # how many in the judged weeks, minutes each, times the rate


def world(rates: FloatArray, stress: str | None, seed: int) -> FloatArray:
    """(minutes,) of any unit → (HISTORY + JUDGED,) of busy workers, the judged minutes last."""
    rng = np.random.default_rng(seed)
    rates = rates[-(HISTORY + JUDGED) :]
    rates = rates * (PEAK / np.quantile(rates, 0.999))
    if stress == "shuffled":
        rates = rng.permutation(rates.reshape(-1, 60)).reshape(-1)
    elif stress == "level shift":
        rates = rates * np.where(np.arange(len(rates)) < HISTORY + JUDGED // 3, 0.5, 1.0)
    elif stress == "flash crowd":
        rates = rates * _crowds(rng, len(rates))
    return np.asarray(np.maximum(0.0, rates * (1 + _NOISE * rng.standard_normal(len(rates)))), np.float64)


def _crowds(rng: np.random.Generator, minutes: int) -> FloatArray:
    """They come within two minutes and stay for twenty, at any time of the judged weeks."""
    times = np.ones(minutes)
    for start in rng.choice(np.arange(HISTORY, minutes - _CROWD, 2 * _CROWD), _CROWDS, replace=False):
        times[start : start + _CROWD] = _CROWD_TIMES
        times[start] = (1 + _CROWD_TIMES) / 2
    return times


def steps_of(minutes: FloatArray, seed: int) -> FloatArray:
    """(minutes,) busy workers → (minutes × 4,): requests arrive at random within each step."""
    rng = np.random.default_rng(seed + 1)
    each = np.repeat(minutes, PER_MINUTE)
    return np.asarray(rng.poisson(each * STEP_S / _WORK_S) * _WORK_S / STEP_S, np.float64)


def measured(steps: FloatArray) -> FloatArray:
    """(steps,) → (minutes,): what the scaler sees of them."""
    return np.asarray(steps.reshape(-1, PER_MINUTE).mean(axis=1), np.float64)


def worlds(series: Mapping[str, FloatArray], stress: str | None) -> FloatArray:
    """(W, steps) in the order of `series`."""
    made = [world(rates, stress, seed) for seed, rates in enumerate(series.values())]
    return np.stack([steps_of(minutes, seed) for seed, minutes in enumerate(made)])


def judged(steps: FloatArray) -> FloatArray:
    """(W, …): the steps that count."""
    return steps[:, HISTORY * PER_MINUTE :]
