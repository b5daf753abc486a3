"""What workers stand and how long they take to start, measured through the gateway: it calibrates the simulator."""

from __future__ import annotations

import time
from dataclasses import dataclass

import httpx
import numpy as np

from benchmarks.lib.waiting import until
from benchmarks.scaler.live.replay import due_times, replay
from benchmarks.scaler.live.stack import ENDPOINT, WaitingStack

WORK_S = 0.05
SLO_MS = 250.0  # five times the work
WORKERS = 3
SHARES = (0.4, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)
_START_S = 60.0


@dataclass(frozen=True)
class ServiceCurve:
    """`p99_ms` by the share of the workers' time that is in use; `starts_s` of single workers."""

    shares: list[float]
    p99_ms: list[float]
    starts_s: list[float]

    @property
    def busiest(self) -> float:
        """The largest share at which the SLO holds, between two that were measured in a straight line."""
        rising = np.maximum.accumulate(self.p99_ms)
        return float(np.interp(SLO_MS, rising, self.shares))

    @property
    def start_p90_s(self) -> float:
        return float(np.quantile(self.starts_s, 0.9))


def measure(stack: WaitingStack, seconds: float, starts: int) -> ServiceCurve:
    """`stack` has WORKERS; each share is loaded for `seconds`."""
    p99_ms = []
    for seed, share in enumerate(SHARES):
        rates = np.full(1, share * WORKERS / WORK_S)
        p99_ms.append(replay(stack, due_times(rates, seconds, seed)).p99_ms)
    return ServiceCurve(list(SHARES), p99_ms, [_start_one(stack) for _ in range(starts)])


def _start_one(stack: WaitingStack) -> float:
    """Seconds from asking for one more worker until it is ready; it is taken away again."""
    began = time.monotonic()
    _scale(stack, WORKERS + 1)
    fault = f"no worker was ready within {_START_S:.0f} s"
    until(lambda: _ready(stack) > WORKERS, _START_S, lambda: fault, pause_s=0.02)
    took = time.monotonic() - began
    _scale(stack, WORKERS)
    return took


def _scale(stack: WaitingStack, size: int) -> None:
    query: dict[str, str | int] = {"min_worker": size, "max_worker": size, "synchronous": "false"}
    httpx.put(f"{stack.management}/models/{ENDPOINT}", params=query, timeout=10).raise_for_status()


def _ready(stack: WaitingStack) -> int:
    workers = httpx.get(f"{stack.management}/models/{ENDPOINT}", timeout=10).json()[0]["workers"]
    return sum(worker["status"] == "READY" for worker in workers)
