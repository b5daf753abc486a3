"""Scaling ahead of demand, judged on real series of demand, and live against a real TorchServe.

    make bench-scaler

1. `curve`: through a gateway and a TorchServe whose handler waits 50 ms, what p99 three workers have at each load, and
   how long a worker takes to start.
2. `plain`: five real series (series.py) under every policy, each swept over its settings. Two are compared at equal
   worker-hours: those of the HPA that has 0.5 % of the minutes over the SLO. Kubernetes' HPA is simulated, for no
   cluster runs here.
3. `flash_crowd`, `shuffled`, `level_shift`: the same with flash crowds, with the hours in another order, and with a
   level that doubles.
4. `starts`: the same with workers that start faster, and slower.
5. `failures`: workers lost while the scaler, the gateway or TorchServe is away.
6. `live`: a working day of a series replayed in --minutes, three times: static peak, reactive, with the forecast. A
   minute takes 0.25 s then, and a worker starts in 2 to 3 s: as a replica would that takes 8 to 12 minutes.

The last line is one JSON document with `bars`; a bar that is missed has `holds: false`, a figure that was not measured
is null.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.lib import reports
from benchmarks.scaler import judging, series
from benchmarks.scaler.live import arms, failures, service_curve
from benchmarks.scaler.live.stack import waiting_stack
from benchmarks.scaler.simulator import Service
from benchmarks.scaler.worlds import STRESSES

PHASES = ("curve", "plain", "flash_crowd", "shuffled", "level_shift", "starts", "failures", "live")
STARTS_S = (15.0, 60.0, 180.0)  # a worker's, a replica's whose image is there, one whose image is not
_USUAL = Service(busiest=0.85, start_s=STARTS_S[1])
BARS = {
    "minutes_over_vs_tuned_hpa": (0.7, "≤"),
    "flash_crowd_vs_tuned_hpa": (1.02, "≤"),
    "shuffled_vs_tuned_hpa": (1.02, "≤"),
    "level_shift_vs_tuned_hpa": (1.02, "≤"),
    "live_p99_over_static_peak": (1.3, "≤"),
    "live_worker_hours_over_static_peak": (0.7, "≤"),
    "live_capacity_lost_workers": (0.0, "≤"),
}
Figures = dict[str, float]
Report = dict[str, Any]


def options() -> argparse.ArgumentParser:
    """Without any of them the run is whole."""
    parser = reports.options(__doc__)
    parser.add_argument("--phases", nargs="*", choices=PHASES, default=list(PHASES))
    parser.add_argument("--minutes", type=float, default=6.0, help="length of each of three live replays")
    parser.add_argument("--seconds", type=float, default=10.0, help="length of each load of the service curve")
    parser.add_argument("--wheels", type=Path, default=Path.home() / ".cache" / "clipserve" / "series")
    return parser


def main() -> None:
    """Measure, print, and save when asked to."""
    given, console = options().parse_args(), Console(stderr=True)
    figures: Figures = {}
    report: Report = reports.saved("scaler")  # phases that are left out keep what was measured then
    for phase in given.phases:
        found, told = _PHASES[phase](given, report, console)
        figures |= found
        report |= told
    figures = {**report.get("figures", {}), **figures}
    reports.show(figures, BARS, console)
    judged = reports.judge(figures, BARS)
    head = reports.head("scaler", "make bench-scaler")
    reports.finish({**report, **head, "figures": figures, "bars": judged}, given.save)


def _curve(given: argparse.Namespace, _: Report, console: Console) -> tuple[Figures, Report]:
    with (
        tempfile.TemporaryDirectory(prefix="clipserve-bench-") as work,
        waiting_stack(Path(work), service_curve.WORKERS) as stack,
    ):
        curve = service_curve.measure(stack, given.seconds, starts=10)
    console.print(f"busiest {curve.busiest:.0%}, start P90 {curve.start_p90_s:.1f} s")
    return {"busiest_share": curve.busiest, "worker_start_p90_s": curve.start_p90_s}, {"curve": asdict(curve)}


def _plain(given: argparse.Namespace, report: Report, console: Console) -> tuple[Figures, Report]:
    rates, service = series.read_all(given.wheels), _service(report)
    console.print(f"simulating with {service}")
    found = judging.simulate(rates, None, service, every=True)
    told = {"as_it_is": judging.ratios(found), "frontiers": judging.lines(found)}
    told["compared"] = {name: judging.compared(families) for name, families in found.items()}
    return {"minutes_over_vs_tuned_hpa": judging.median_ratio(found)}, told


def _stressed(stress: str, given: argparse.Namespace, report: Report, console: Console) -> tuple[Figures, Report]:
    found = judging.simulate(series.read_all(given.wheels), stress, _service(report), every=False)
    ratios = judging.ratios(found)
    console.print(stress, ratios)
    figures = {f"{_named(stress)}_vs_tuned_hpa": judging.median_ratio(found)}
    return figures, {"stressed": {**report.get("stressed", {}), stress: ratios}}


def _named(stress: str) -> str:
    return stress.replace(" ", "_")


def _starts(given: argparse.Namespace, report: Report, _: Console) -> tuple[Figures, Report]:
    rates, figures = series.read_all(given.wheels), {}
    for start_s in STARTS_S:
        found = judging.simulate(rates, None, Service(_service(report).busiest, start_s), every=False)
        figures[f"minutes_over_at_{start_s:g}_s_start"] = judging.median_ratio(found)
    return figures, {}


def _service(report: Report) -> Service:
    """As the curve was measured; without one, what it usually is. The start is that of a replica."""
    curve = report.get("curve")
    if curve is None:
        return _USUAL
    return Service(round(service_curve.ServiceCurve(**curve).busiest, 2), _USUAL.start_s)


def _live(given: argparse.Namespace, report: Report, console: Console) -> tuple[Figures, Report]:
    rates = series.read_all(given.wheels)["bike rides"]
    found = arms.run(rates, given.minutes, _service(report).busiest, console)
    return arms.figures(found), {"live": found}


def _failures(_: argparse.Namespace, __: Report, ___: Console) -> tuple[Figures, Report]:
    lost = failures.run()
    return {"live_capacity_lost_workers": float(max(lost.values()))}, {"failures": lost}


_PHASES: dict[str, Callable[[argparse.Namespace, Report, Console], tuple[Figures, Report]]] = {
    "curve": _curve,
    "plain": _plain,
    **{_named(stress): partial(_stressed, stress) for stress in STRESSES},
    "starts": _starts,
    "failures": _failures,
    "live": _live,
}
