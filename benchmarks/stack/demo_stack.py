"""The demo stack as a user meets it: time to ready, memory, latency of a search and what each part adds, throughput.

    make bench

Each run starts a stack of its own on free ports. The peer of the gateway is the same request sent straight to
TorchServe, in turn with the gateway's, by one client. The embedding cache is off, so that every caption is computed. A
second stack with the cache on gives the figures named `cached_…`, which have no bars. Quality stands beside speed:
recall@1 of the gallery's captions. Several runs, medians; the last line is one JSON document with `bars`.
"""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.lib.reports import finish, head, judge, options, show
from benchmarks.stack.ready_stack import UNCACHED
from scripts.processes.process_tree import resident_bytes
from scripts.public_api import PublicApi
from scripts.stack.live_stack import LiveStack, live_stack
from scripts.tune.load import alternate, together

BARS = {
    "ready_s": (40.0, "≤"),
    "resident_gb": (2.5, "≤"),
    "search_p50_ms": (12.0, "≤"),
    "gateway_adds_p50_ms": (2.5, "≤"),
    "index_call_p50_ms": (2.0, "≤"),
    "searches_per_s_32_clients": (300.0, "≥"),
    "errors_32_clients": (0.0, "≤"),
}


def captions(stack: LiveStack) -> list[tuple[str, str]]:
    """(id, caption) of every picture in the gallery."""
    listing = stack.data_dir / "demo" / "gallery" / "gallery.jsonl"
    rows = [json.loads(line) for line in listing.read_text(encoding="utf-8").splitlines()]
    return [(row["id"], row["caption"]) for row in rows]


def measure(directory: Path, seconds: float, console: Console) -> dict[str, float]:
    """One run: figures by name."""
    started = time.monotonic()
    with live_stack(directory, env=UNCACHED) as stack:
        figures = {"ready_s": _wait_readyz(stack, started), **_searches(stack, seconds)}
        figures["resident_gb"] = resident_bytes([stack.process.pid]) / 1e9
    with live_stack(directory / "cached") as stack:  # every caption's vector is remembered
        cached = _searches(stack, seconds)
    figures |= {f"cached_{name}": cached[name] for name in ("search_p50_ms", "searches_per_s_32_clients")}
    console.print(" ".join(f"{name}={value:.3g}" for name, value in figures.items()), highlight=False)
    return figures


def _wait_readyz(stack: LiveStack, started: float) -> float:
    api = PublicApi(stack.gateway, timeout_s=5)
    while not api.ready()[0]:
        if stack.process.poll() is not None:
            raise RuntimeError(stack.text())
        time.sleep(0.1)
    return time.monotonic() - started


def _searches(stack: LiveStack, seconds: float) -> dict[str, float]:
    """Every caption once by one client, the gateway and TorchServe in turn; then 32 clients at once."""
    stack.wait_ready()
    texts, url = captions(stack), f"{stack.gateway}/v1/search"
    bodies: list[Any] = [{"collection": "demo", "text": text, "k": 10} for _, text in texts]
    bare = [{"input": {"text": text}, "search": {"collection": "demo", "k": 10}} for _, text in texts]
    together(url, bodies, 16, 3.0)
    through, straight = alternate([(url, bodies), (f"{stack.inference}/predictions/clip_text", bare)])
    load = together(url, bodies, 32, seconds)
    right = [body["hits"][0]["id"] == identity for body, (identity, _) in zip(through.bodies, texts, strict=True)]
    p50, torchserve = statistics.median(through.latencies), statistics.median(straight.latencies)
    return {
        "search_p50_ms": p50,
        "search_p99_ms": through.p99,
        "torchserve_p50_ms": torchserve,
        "gateway_adds_p50_ms": p50 - torchserve,
        "index_call_p50_ms": statistics.median(body["timing"]["search_ms"] for body in straight.bodies),
        "encode_p50_ms": statistics.median(body["timing"]["encode_ms"] for body in straight.bodies),
        "recall_at_1": sum(right) / len(right),
        "searches_per_s_32_clients": load.rate,
        "errors_32_clients": float(load.errors),
        "p50_ms_32_clients": statistics.median(load.latencies),
        "p99_ms_32_clients": load.p99,
    }


def main() -> None:
    """Measure, print, and save when asked to."""
    parser = options(__doc__)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=10.0, help="length of the load with 32 clients")
    given, console = parser.parse_args(), Console()
    with tempfile.TemporaryDirectory(prefix="clipserve-bench-") as work:
        runs = [measure(Path(work) / str(i), given.seconds, console) for i in range(given.runs)]
    medians = {name: statistics.median(run[name] for run in runs) for name in runs[0]}
    show(medians, BARS, console)
    report = {**head("demo_stack", "make bench"), "runs": runs, "medians": medians, "bars": judge(medians, BARS)}
    finish(report, given.save)


if __name__ == "__main__":
    main()
