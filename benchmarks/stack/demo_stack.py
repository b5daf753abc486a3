"""The demo stack as a user meets it: time to ready, memory, latency of a search and what each part adds, throughput.

    make bench

Each run starts a stack of its own on free ports. The peer of the gateway is the same request sent straight to
TorchServe, in turn with the gateway's, by one client. The embedding cache is off: captions come again, and every one
is to be computed. A second stack with the cache on, warmed with the same captions, gives the figures named `cached_…`,
which have no bars. Quality stands beside speed: recall@1 of the gallery's captions.
Several runs, medians; the last line is one JSON document with `bars`.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.lib.machine import machine
from scripts.processes.process_tree import resident_bytes
from scripts.public_api import PublicApi
from scripts.stack.live_stack import LiveStack, live_stack
from scripts.tune.load import alternate, together

RESULTS = Path(__file__).resolve().parent.parent / "results" / "demo_stack.json"
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
    with live_stack(directory, env={"CLIPSERVE_HANDLER_CACHE": "false"}) as stack:
        ready = _wait_readyz(stack, started)
        stack.wait_ready()
        texts = captions(stack)
        _warm(stack, texts)
        figures = {"ready_s": ready, **_latency(stack, texts), **_throughput(stack, texts, seconds)}
        figures["resident_gb"] = resident_bytes([stack.process.pid]) / 1e9
    figures |= _cached(directory / "cached", seconds)
    console.print(" ".join(f"{name}={value:.3g}" for name, value in figures.items()), highlight=False)
    return figures


def _wait_readyz(stack: LiveStack, started: float) -> float:
    api = PublicApi(stack.gateway, timeout_s=5)
    while not api.ready()[0]:
        if stack.process.poll() is not None:
            raise RuntimeError(stack.text())
        time.sleep(0.1)
    return time.monotonic() - started


def _gateway_body(text: str) -> dict[str, Any]:
    return {"collection": "demo", "text": text, "k": 10}


def _torchserve_body(text: str) -> dict[str, Any]:
    return {"input": {"text": text}, "search": {"collection": "demo", "k": 10}}


def _warm(stack: LiveStack, texts: list[tuple[str, str]]) -> None:
    together(f"{stack.gateway}/v1/search", [_gateway_body(text) for _, text in texts], 16, 3.0)


def _latency(stack: LiveStack, texts: list[tuple[str, str]]) -> dict[str, float]:
    """One client, the gateway and TorchServe in turn, every caption once."""
    through, straight = alternate(
        [
            (f"{stack.gateway}/v1/search", [_gateway_body(text) for _, text in texts]),
            (f"{stack.inference}/predictions/clip_text", [_torchserve_body(text) for _, text in texts]),
        ]
    )
    right = [body["hits"][0]["id"] == identity for body, (identity, _) in zip(through.bodies, texts, strict=True)]
    return {
        "search_p50_ms": statistics.median(through.latencies),
        "search_p99_ms": statistics.quantiles(through.latencies, n=100)[98],
        "torchserve_p50_ms": statistics.median(straight.latencies),
        "gateway_adds_p50_ms": statistics.median(through.latencies) - statistics.median(straight.latencies),
        "index_call_p50_ms": statistics.median(body["timing"]["search_ms"] for body in straight.bodies),
        "encode_p50_ms": statistics.median(body["timing"]["encode_ms"] for body in straight.bodies),
        "recall_at_1": sum(right) / len(right),
    }


def _throughput(stack: LiveStack, texts: list[tuple[str, str]], seconds: float) -> dict[str, float]:
    load = together(f"{stack.gateway}/v1/search", [_gateway_body(text) for _, text in texts], 32, seconds)
    return {
        "searches_per_s_32_clients": load.rate,
        "errors_32_clients": float(load.errors),
        "p50_ms_32_clients": statistics.median(load.latencies),
        "p99_ms_32_clients": statistics.quantiles(load.latencies, n=100)[98],
    }


def _cached(directory: Path, seconds: float) -> dict[str, float]:
    """The same searches when every caption's vector is remembered; the gateway and the index work as before."""
    with live_stack(directory) as stack:
        stack.wait_ready()
        texts = captions(stack)
        _warm(stack, texts)
        figures = {**_latency(stack, texts), **_throughput(stack, texts, seconds)}
    return {f"cached_{name}": figures[name] for name in ("search_p50_ms", "searches_per_s_32_clients")}


def judge(figures: dict[str, float]) -> list[dict[str, Any]]:
    rows = []
    for name, (bar, sign) in BARS.items():
        value = figures[name]
        rows.append(
            {"name": name, "value": round(value, 3), "bar": bar, "holds": value <= bar if sign == "≤" else value >= bar}
        )
    return rows


def show(figures: dict[str, float], console: Console) -> None:
    table = Table("figure", "median", "bar")
    for name, value in sorted(figures.items()):
        bar = f"{BARS[name][1]} {BARS[name][0]:g}" if name in BARS else ""
        table.add_row(name, f"{value:.4g}", bar)
    console.print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=10.0, help="length of the load with 32 clients")
    parser.add_argument("--save", action="store_true", help=f"write {RESULTS.name} under benchmarks/results")
    arguments = parser.parse_args()
    console = Console()
    with tempfile.TemporaryDirectory(prefix="clipserve-bench-") as temporary:
        runs = [measure(Path(temporary) / str(i), arguments.seconds, console) for i in range(arguments.runs)]
    medians = {name: statistics.median(run[name] for run in runs) for name in runs[0]}
    show(medians, console)
    report = {
        "benchmark": "demo_stack",
        "command": "make bench",
        "machine": machine(),
        "runs": runs,
        "medians": medians,
    }
    report["bars"] = judge(medians)
    if arguments.save:
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(report))


if __name__ == "__main__":
    main()
