"""What traces cost, whether they are whole, and what a collector that is down does to a stack.

    make bench-observe [ROUNDS=10]

Two demo stacks side by side, the embedding cache off: one without an endpoint, one that exports to a collector in a
process of its own. They take turns with the same text searches by eight clients; the share that is sampled is the
caller's choice. Processor time is that of all processes of a stack, the exporting threads included, the collector not.
Then 32 clients at 100 %: the share of traces that are whole. Then the collector is stopped (SIGSTOP, so it hangs):
throughput over before, and the seconds that the stack needs to stop. Then the other stack is profiled under load, and a
model is taken out of it: the seconds until a webhook is told, with the shipped intervals. Against code without traces:
`python -m benchmarks.stack.cpu_cost --against DIR`. The profile alone: `--profile-only`. The last line is one JSON
document with `bars`.
"""

from __future__ import annotations

import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console

from benchmarks.lib.reports import finish, head, judge, options, show
from benchmarks.observe.alert_time import alert_figures
from benchmarks.observe.traced_load import traced
from benchmarks.observe.whole_traces import Span, covered_p50, whole_share
from benchmarks.stack.cpu_cost import interval, processor_s
from benchmarks.stack.demo_stack import captions
from benchmarks.stack.ready_stack import UNCACHED, ready_stack
from scripts.profiling.taking import ProfileTaker
from scripts.stack.live_stack import LiveStack, free_ports

CLIENTS, MANY, REQUESTS = 8, 32, 1200
SHARES = {"0": 0.0, "1": 0.01, "10": 0.1, "100": 1.0}
BARS = {
    "cpu_at_0_percent": (1.02, "≤"),
    "cpu_at_1_percent": (1.03, "≤"),
    "cpu_at_10_percent": (1.06, "≤"),
    "cpu_at_100_percent": (1.25, "≤"),
    "whole_traces": (0.999, "≥"),
    "stages_over_request_p50": (0.95, "≥"),
    "throughput_with_collector_down": (0.98, "≥"),
    "stop_with_collector_down_s": (8.0, "≤"),  # of the whole stack: 3 s and less for each process
    "throughput_while_profiled": (0.7, "≥"),
    "p99_after_profile": (1.05, "≤"),
    "alert_s": (90.0, "≤"),
    "false_alerts": (0.0, "≤"),
}
TOKEN, PROFILED, BATCHES, TIMES = "benchmark", 600, 60, 3  # requests while so many batches are profiled; how often
PROFILABLE = UNCACHED | {"CLIPSERVE_HANDLER_ADMIN_TOKEN": TOKEN}
_SETTLE_S = 3.0  # until the last spans have left


class RunningCollector:
    """In a process of its own."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self._process = subprocess.Popen([sys.executable, "-m", "benchmarks.observe.collector", str(port)])

    def take(self) -> list[Span]:
        time.sleep(_SETTLE_S)
        spans: list[Span] = httpx.get(self.url, timeout=60).json()
        return spans

    def hang(self) -> None:
        self._process.send_signal(signal.SIGSTOP)

    def close(self) -> None:
        self._process.kill()
        self._process.wait()


@contextmanager
def collecting() -> Iterator[RunningCollector]:
    collector = RunningCollector(free_ports(1)[0])
    try:
        yield collector
    finally:
        collector.close()


def measure(directory: Path, rounds: int) -> tuple[dict[str, float], dict[str, Any]]:
    """The figures, and the rounds behind those of processor time."""
    with collecting() as collector, ready_stack(directory / "off", PROFILABLE) as off:
        env = {
            **UNCACHED,
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
            "OTEL_TRACES_SAMPLER": "parentbased_always_off",
        }
        with ready_stack(directory / "on", env) as on:
            bodies = _bodies(off)
            pairs = _rounds(off, on, bodies, rounds)
            collector.take()
            figures = {name: _ratio(rows) for name, rows in pairs.items()}
            figures |= _traces(on, bodies, collector) | _collector_down(on, bodies, collector)
        figures |= _profiled(off, bodies[:PROFILED]) | alert_figures(off, directory / "alerts")
    detail = {name: {"interval": interval(rows), "rounds": rows} for name, rows in pairs.items()}
    return figures, detail


def measure_profile(directory: Path) -> dict[str, float]:
    """What a profile costs, alone."""
    with ready_stack(directory / "off", PROFILABLE) as off:
        return _profiled(off, _bodies(off)[:PROFILED])


def _bodies(stack: LiveStack) -> list[dict[str, Any]]:
    found = [{"collection": "demo", "text": text, "k": 10} for _, text in captions(stack)]
    return [*islice(cycle(found), REQUESTS)]


def _rounds(off: LiveStack, on: LiveStack, bodies: list[Any], rounds: int) -> dict[str, list[list[float]]]:
    """By figure: [off, on] µs a request of each round but the first, which warms up. Every second is in reverse."""
    found: dict[str, list[list[float]]] = {f"cpu_at_{name}_percent": [] for name in SHARES}
    for number in range(rounds + 1):
        turns = [None, *SHARES.values()][:: 1 if number % 2 else -1]
        costs = {share: _cost_us(off if share is None else on, share, bodies, number) for share in turns}
        for name, share in SHARES.items() if number else ():
            found[f"cpu_at_{name}_percent"].append([costs[None], costs[share]])
    return found


def _cost_us(stack: LiveStack, share: float | None, bodies: list[Any], seed: int) -> float:
    """Raises RuntimeError when a request fails. The last spans leave within it."""
    before = processor_s(stack.process.pid)
    load = traced(f"{stack.gateway}/v1/search", bodies, CLIENTS, share, seed)
    if load.errors:
        raise RuntimeError(f"{load.errors} of {len(bodies)} searches failed")
    time.sleep(1.5)
    return (processor_s(stack.process.pid) - before) * 1e6 / len(bodies)


def _ratio(pairs: Sequence[Sequence[float]]) -> float:
    off, on = (statistics.median(pair[place] for pair in pairs) for place in (0, 1))
    return on / off


def _traces(stack: LiveStack, bodies: list[Any], collector: RunningCollector) -> dict[str, float]:
    traced(f"{stack.gateway}/v1/search", bodies, MANY, 1.0)
    spans = collector.take()
    return {"whole_traces": whole_share(spans), "stages_over_request_p50": covered_p50(spans)}


def _collector_down(stack: LiveStack, bodies: list[Any], collector: RunningCollector) -> dict[str, float]:
    """Turn by turn it can't be: what hangs goes on hanging. So the middle of three before, and of three after."""
    url = f"{stack.gateway}/v1/search"
    before = statistics.median(traced(url, bodies, MANY, 1.0).rate for _ in range(3))
    collector.hang()
    after = statistics.median(traced(url, bodies, MANY, 1.0).rate for _ in range(3))
    return {"throughput_with_collector_down": after / before, "stop_with_collector_down_s": stack.stop()}


def _profiled(stack: LiveStack, bodies: list[Any]) -> dict[str, float]:
    """Medians before, during and after."""
    url, taker = f"{stack.gateway}/v1/search", ProfileTaker(stack.inference, TOKEN)
    before = [traced(url, bodies, MANY, None) for _ in range(TIMES)]
    during = []
    for _ in range(TIMES):
        with ThreadPoolExecutor(1) as pool:
            taken = pool.submit(taker.take, "clip_text", BATCHES, 10.0)
            during.append(traced(url, bodies, MANY, None))
            taken.result()
    after = [traced(url, bodies, MANY, None) for _ in range(TIMES)]
    rates = [statistics.median(load.rate for load in loads) for loads in (before, during)]
    p99s = [statistics.median(load.p99 for load in loads) for loads in (before, after)]
    return {"throughput_while_profiled": rates[1] / rates[0], "p99_after_profile": p99s[1] / p99s[0]}


def main() -> None:
    """Measure, print, and save when asked to."""
    parser = options(__doc__)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--profile-only", action="store_true", help="what a profile costs, in a minute; never saved")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="clipserve-bench-") as work:
        alone = given.profile_only
        figures, detail = (measure_profile(Path(work)), {}) if alone else measure(Path(work), given.rounds)
    asked = {name: bar for name, bar in BARS.items() if name in figures or not alone}
    show(figures, asked, Console(stderr=True))
    report = {"figures": figures, "cpu": detail, "bars": judge(figures, asked)}
    finish({**head("observe", "make bench-observe"), **report}, given.save and not alone)
