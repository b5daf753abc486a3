"""Many policies on many series at once: a fluid queue before workers that take their time to start.

A lane is one policy on one series. Everything is counted in busy workers: the load of a step is its arrivals a second
times the seconds that a worker has to work for one. A step is over its SLO when the workers that are ready are busier
than the measured service curve allows, or when work is left waiting. What waits longer than the gateway's patience is
refused, and counts as over the SLO, too.

Scaling is decided at every step from the step before, as an HPA does every 15 s; a new worker is ready `start_steps`
later; one that is not needed any more is gone at once.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from scaler.forecast.points import FloatArray
from scaler.sizing.rule import allowed_utilization, desired_workers

STEP_S = 15.0
PER_MINUTE = 4


@dataclass(frozen=True)
class Service:
    """What was measured: a worker's limits, and how long it takes to start."""

    busiest: float  # share of a worker's time up to which the SLO holds
    start_s: float  # P90 of start to ready
    patience_s: float = 1.2  # the gateway's admission_timeout_s

    @property
    def start_steps(self) -> int:
        return max(1, int(np.ceil(self.start_s / STEP_S)))


@dataclass(frozen=True)
class Lanes:
    """Policies on series, one a lane: `world` (L,) indexes of the loads.

    `floors` (L, minutes): workers that are wanted in any case. `target` (L,): the busy share that the reactive rule
    aims at; infinity: there is none. `beside` (L,): the same while the floor is above 0. `calm` (L,): minutes over
    which the highest wish holds. `tolerance` (L,): relative differences to the target that change nothing.
    """

    world: np.ndarray[tuple[int], np.dtype[np.intp]]
    floors: FloatArray
    target: FloatArray
    beside: FloatArray
    calm: np.ndarray[tuple[int], np.dtype[np.intp]]
    tolerance: FloatArray


@dataclass(frozen=True)
class SimulatedOutcome:
    """Of each lane: worker-hours, minutes over the SLO, share of the work that was refused."""

    worker_hours: FloatArray
    minutes_over: FloatArray
    refused: FloatArray


def simulate(loads: FloatArray, lanes: Lanes, service: Service) -> SimulatedOutcome:
    """`loads` (W, steps): busy workers."""
    starts, steps, size = service.start_steps, loads.shape[1], len(lanes.world)
    floors, by_step = np.ascontiguousarray(lanes.floors.T), np.ascontiguousarray(loads.T)
    starting = np.zeros((starts, size))  # workers by the step in which they become ready
    held = HeldWishes(lanes.calm)
    total = np.maximum(1.0, floors[0])
    ready = total.copy()
    waiting, hours, over, refused = np.zeros(size), np.zeros(size), np.zeros(size), np.zeros(size)
    over_minute = np.zeros(size, bool)
    for step in range(steps):
        slot, minute = step % starts, step // PER_MINUTE
        ready += starting[slot]
        starting[slot] = 0.0
        load = by_step[step, lanes.world]
        work, room = load * STEP_S + waiting, ready * STEP_S
        left = np.maximum(0.0, work - room)
        waiting = np.minimum(left, ready * service.patience_s)
        refused += left - waiting
        over_minute |= work > service.busiest * room
        if step % PER_MINUTE == PER_MINUTE - 1:
            over += over_minute
            over_minute[:] = False
        hours += total
        wished = _wish(load + np.minimum(waiting / STEP_S, load), total, lanes, floors[minute])
        wanted = np.maximum(wished, np.minimum(total, held.highest(wished, step)))
        starting[slot] += np.maximum(0.0, wanted - total)
        _drop(np.maximum(0.0, total - wanted), starting, ready, slot)
        total = wanted
    worked = loads.sum(axis=1)[lanes.world] * STEP_S
    return SimulatedOutcome(hours * STEP_S / 3600, over, refused / np.maximum(worked, 1e-9))


class HeldWishes:
    """The highest wish of the last `calm` (L,) minutes, by whole minutes."""

    def __init__(self, calm: np.ndarray[tuple[int], np.dtype[np.intp]]) -> None:
        self._reach = int(calm.max()) + 1
        self._wishes = np.zeros((self._reach, len(calm)))
        ages = np.arange(self._reach)[:, None]
        self._counts = [((minute - ages) % self._reach <= calm).astype(np.float64) for minute in range(self._reach)]

    def highest(self, wished: FloatArray, step: int) -> FloatArray:
        minute = step // PER_MINUTE % self._reach
        kept = self._wishes[minute]
        kept[:] = wished if step % PER_MINUTE == 0 else np.maximum(kept, wished)
        return np.asarray((self._wishes * self._counts[minute]).max(axis=0), np.float64)


def _wish(demand: FloatArray, total: FloatArray, lanes: Lanes, floor: FloatArray) -> FloatArray:
    target = allowed_utilization(demand, floor, lanes.target, lanes.beside)
    return np.maximum(1.0, desired_workers(demand, total, floor, target, lanes.tolerance))


def _drop(excess: FloatArray, starting: FloatArray, ready: FloatArray, slot: int) -> None:
    """The youngest first."""
    if not excess.any():
        return
    for age in range(len(starting)):
        row = starting[slot - age]
        taken = np.minimum(row, excess)
        row -= taken
        excess = excess - taken
    ready -= excess


def oracle(loads: FloatArray, service: Service) -> FloatArray:
    """(W, minutes): the fewest workers that keep every step within its SLO, known in advance."""
    steps = loads.shape[1]
    ahead = service.start_steps + PER_MINUTE
    padded = np.concatenate([loads, np.repeat(loads[:, -1:], ahead, axis=1)], axis=1)
    windows = np.lib.stride_tricks.sliding_window_view(padded, ahead + 1, axis=1)[:, :steps]
    return np.asarray(np.ceil(windows.max(axis=2) / service.busiest)[:, ::PER_MINUTE], np.float64)
