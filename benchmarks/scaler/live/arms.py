"""A working day replayed against one TorchServe: at its static peak, by the reactive rule, and with the forecast."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from benchmarks.scaler.live.replay import Replayed, due_times, replay
from benchmarks.scaler.live.service_curve import WORK_S
from benchmarks.scaler.live.stack import ENDPOINT, waiting_stack
from scaler.forecast.points import DAY, FloatArray
from scaler.series.minutes import MinuteRates
from scaler.sizing.rule import workers

ARMS = ("static peak", "reactive", "forecast")
MOST = 6  # workers
_DAYS_AGO = 2  # of the bike rides that is a Thursday; a Friday and a Saturday of other shapes end the series
_PAST = 28 * DAY  # minutes before the day that is replayed
_CALM = 5  # minutes
_WARM = 5  # minutes at the start that are not judged: every arm begins with the static peak
Found = dict[str, dict[str, Any]]


def run(rates: FloatArray, minutes: float, busiest: float, console: Console) -> Found:
    """`rates` (T,) of any unit; one day is replayed in `minutes`, its peak just within MOST workers."""
    until = len(rates) - _DAYS_AGO * DAY
    rates = rates[until - DAY - _PAST : until]
    scaled = rates * (MOST * busiest * 0.95 / WORK_S / float(rates[-DAY:].max()))
    minute_s = minutes * 60 / DAY
    found: Found = {}
    for arm in ARMS:
        found[arm] = _told(_arm(arm, scaled, minute_s, busiest), minute_s)
        console.print(arm, found[arm])
    return found


def _arm(arm: str, scaled: FloatArray, minute_s: float, busiest: float) -> Replayed:
    played = scaled[-DAY:]
    static = int(workers(float(played.max()) * WORK_S, busiest))
    with tempfile.TemporaryDirectory(prefix="clipserve-bench-") as work, waiting_stack(Path(work), static) as stack:
        if arm != "static peak":
            past = Path(work) / "past"
            past.mkdir()
            if arm == "forecast":
                _write_past(past / f"{ENDPOINT}.npy", scaled[:-DAY], minute_s)
            stack.start_scaler(
                max_replicas=MOST,
                max_utilization=busiest,
                series_step_s=minute_s,
                stabilization_window_s=_CALM * minute_s,
                poll_interval_s=max(0.25, minute_s / 4),
                start_s=3.0,
                data_dir=past,
            )
        return replay(stack, due_times(played, minute_s, seed=1))


def _write_past(path: Path, rates: FloatArray, minute_s: float) -> None:
    """As if the scaler had watched until now."""
    MinuteRates.of(int(time.time() // minute_s) - len(rates), rates, minute_s).save(path)


def _told(run: Replayed, minute_s: float) -> dict[str, Any]:
    judged = run.due_s >= _WARM * minute_s
    latencies = run.latencies_s[judged]
    return {
        "requests": len(run.due_s),
        "p99_ms": _quantile_ms(latencies, 0.99),
        "p50_ms": _quantile_ms(latencies, 0.5),
        "not_answered": int(np.isinf(latencies).sum()),
        "statuses": run.statuses,
        "worker_hours": round(run.worker_s / 3600, 4),
    }


def _quantile_ms(latencies: FloatArray, part: float) -> float | None:
    """None where so many were not answered."""
    found = float(np.quantile(latencies, part, method="higher"))
    return round(found * 1e3, 1) if np.isfinite(found) else None


def figures(found: Found) -> dict[str, float]:
    """Over the static peak; a figure that needs a p99 of failures is left out."""
    static, ours = found["static peak"], found["forecast"]
    told = {"live_worker_hours_over_static_peak": ours["worker_hours"] / static["worker_hours"]}
    if static["p99_ms"] and ours["p99_ms"]:
        told["live_p99_over_static_peak"] = ours["p99_ms"] / static["p99_ms"]
    return told
