"""The gateway: what it adds to a request, what it keeps of TorchServe's throughput, how it stands overload and time.

    make bench-gateway [INFINITY=DIR]

The demo model, the handlers' embedding cache off, so that every text is computed. The peer of the gateway is the same
request sent straight to TorchServe, in turn and in the same run. Lists are compared with single requests at the same
number of clients. Overload is an open loop: requests leave at four times the rate that was just measured as the peak,
whether or not earlier ones were answered; requests carry 16 texts, so that the client is not what is overloaded. The
soak sends 70 % of that peak. With --infinity DIR, which `python -m benchmarks.gateway.infinity_peer DIR` makes,
`infinity.py` measures ViT-B/32 of random weights against Infinity's torch engine; without it those bars are
null. The last line is one JSON document with `bars`.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.gateway.infinity import against_infinity
from benchmarks.gateway.infinity_peer import Peer
from benchmarks.lib.reports import finish, head, judge, options, show
from benchmarks.stack.cpu_cost import processor_s
from benchmarks.stack.demo_stack import captions
from benchmarks.stack.ready_stack import UNCACHED
from scripts.processes.process_tree import resident_bytes
from scripts.stack.live_stack import LiveStack, live_stack
from scripts.tune.load import Load, alternate, at_rate, together

CLIENTS, LIST, HEAVY = 32, 64, 16
BARS = {
    "gateway_cost_p50_ms": (1.1, "≤"),
    "texts_per_s_over_torchserve": (0.8, "≥"),
    "server_cpu_per_text_over_torchserve": (1.45, "≤"),
    "images_per_s_over_infinity": (4.0, "≥"),
    "texts_per_s_over_infinity": (3.0, "≥"),
    "list_of_64_over_singles": (2.0, "≥"),
    "overload_throughput_over_peak": (0.9, "≥"),
    "overload_p99_over_capacity": (2.0, "≤"),
    "soak_errors": (0.0, "≤"),
    "soak_memory_growth": (0.03, "≤"),
}
Figures = dict[str, float]


def measure(directory: Path, seconds: float, soak_s: float, rounds: int, console: Console) -> Figures:
    """Everything about the demo model, on one stack."""
    with live_stack(directory, env=UNCACHED) as stack:
        stack.wait_ready()
        texts = [text for _, text in captions(stack)]
        url = f"{stack.gateway}/v1/embeddings"
        together(url, [{"input": text} for text in texts], CLIENTS, min(3.0, seconds))
        figures = {**_cost(stack, texts), **_lists(url, texts, seconds)}
        figures |= _throughput(stack, texts, seconds, rounds)
        peak = peak_load(url, texts, seconds)
        figures |= overload(url, texts, seconds, peak)
        figures |= _soak(stack, url, texts, soak_s, 0.7 * peak.rate)
    console.print(" ".join(f"{name}={value:.3g}" for name, value in figures.items()), highlight=False)
    return figures


def _cost(stack: LiveStack, texts: list[str]) -> Figures:
    """One client, both ways in turn, every text once."""
    through, straight = alternate([*_ways(stack, texts).values()], keep=False)
    p50, own = statistics.median(through.latencies), statistics.median(straight.latencies)
    return {"embedding_p50_ms": p50, "torchserve_p50_ms": own, "gateway_cost_p50_ms": p50 - own}


def _throughput(stack: LiveStack, texts: list[str], seconds: float, rounds: int) -> Figures:
    """The medians of rounds in which each way had its turn, and the servers' processor time for each text."""
    ways, pid = _ways(stack, texts), stack.process.pid
    measured = [{way: _metered(*asked, seconds, pid) for way, asked in ways.items()} for _ in range(rounds)]
    figures: Figures = {}
    for way in ways:
        figures[f"texts_per_s_{way}"] = statistics.median(row[way][0] for row in measured)
        figures[f"server_cpu_ms_per_text_{way}"] = statistics.median(row[way][1] for row in measured)
    for place, name in enumerate(("texts_per_s_over_torchserve", "server_cpu_per_text_over_torchserve")):
        figures[name] = statistics.median(row["gateway"][place] / row["torchserve"][place] for row in measured)
    return figures


def _ways(stack: LiveStack, texts: list[str]) -> dict[str, tuple[str, list[Any]]]:
    """Address and bodies: through the gateway, and straight to TorchServe."""
    straight = [{"input": {"text": text}} for text in texts]
    through = (f"{stack.gateway}/v1/embeddings", _embeddings(texts))
    return {"gateway": through, "torchserve": (f"{stack.inference}/predictions/clip_text", straight)}


def _metered(url: str, bodies: list[Any], seconds: float, pid: int) -> tuple[float, float]:
    """Requests a second, and milliseconds of processor time for each."""
    before = processor_s(pid)
    load = together(url, bodies, CLIENTS, seconds)
    return load.rate, (processor_s(pid) - before) * 1e3 / max(1, len(load.latencies))


def _embeddings(texts: list[str]) -> list[Any]:
    return [{"input": text, "encoding_format": "base64"} for text in texts]


def _lists(url: str, texts: list[str], seconds: float) -> Figures:
    lists = together(url, _lists_of(texts, LIST), 8, seconds).rate * LIST
    singles = together(url, _embeddings(texts), 8, seconds).rate
    return {"texts_per_s_lists": lists, "texts_per_s_singles": singles, "list_of_64_over_singles": lists / singles}


def _lists_of(texts: list[str], length: int) -> list[Any]:
    starts = range(0, len(texts) - length + 1, length)
    return [{"input": texts[start : start + length], "encoding_format": "base64"} for start in starts]


def peak_load(url: str, texts: list[str], seconds: float) -> Load:
    """What the gateway can do: as many clients as keep it busy, none of them ahead of its answer."""
    return together(url, _lists_of(texts, HEAVY), 16, seconds)


def overload(url: str, texts: list[str], seconds: float, peak: Load) -> Figures:
    """Four times the requests that were answered at the peak, in an open loop."""
    load = at_rate(url, _lists_of(texts, HEAVY), 4 * peak.rate, seconds)
    return {
        "peak_requests_per_s": peak.rate,
        "peak_p99_ms": peak.p99,
        "overload_refused": float(load.errors),
        "overload_p99_ms": load.p99,
        "overload_throughput_over_peak": load.rate / peak.rate,
        "overload_p99_over_capacity": load.p99 / peak.p99,
    }


def _soak(stack: LiveStack, url: str, texts: list[str], seconds: float, per_s: float) -> Figures:
    """Memory is the proportional set size of everything, from the first minute (a tenth of a short soak) to the end."""
    with ThreadPoolExecutor(1) as pool:
        growth = pool.submit(_memory_growth, stack.process.pid, min(60.0, seconds / 10), seconds)
        load = at_rate(url, _lists_of(texts, HEAVY), per_s, seconds)
    return {
        "soak_requests": float(len(load.latencies) + load.errors),
        "soak_errors": float(load.errors),
        "soak_p99_ms": load.p99,
        "soak_memory_growth": growth.result(),
    }


def _memory_growth(pid: int, first_s: float, last_s: float) -> float:
    """From `first_s` to shortly before `last_s`."""
    time.sleep(first_s)
    first = resident_bytes([pid])
    time.sleep(max(0.0, last_s - first_s - 0.5))
    return resident_bytes([pid]) / first - 1


def main() -> None:
    """Measure, print, and save when asked to."""
    parser = options(__doc__)
    parser.add_argument("--seconds", type=float, default=10.0, help="length of each load")
    parser.add_argument("--rounds", type=int, default=3, help="how often gateway and TorchServe are compared")
    parser.add_argument("--soak-minutes", type=float, default=10.0)
    parser.add_argument("--infinity", type=Path, help="folder that infinity_peer.py made")
    parser.add_argument("--infinity-alone", action="store_true", help="nothing of the demo; such a run is not saved")
    given, console = parser.parse_args(), Console()
    setup: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="clipserve-bench-") as temporary:
        work = Path(temporary)
        figures: Figures = {}
        if not given.infinity_alone:
            figures = measure(work / "demo", given.seconds, given.soak_minutes * 60, given.rounds, console)
        if given.infinity:
            peer = Peer(given.infinity.resolve())
            against, setup = against_infinity(work / "peer", peer, given.seconds, given.rounds)
            figures |= against
    show(figures, BARS, console)
    command = "make bench-gateway" + (" INFINITY=DIR" if given.infinity else "")
    found = {"figures": figures, "peer": setup, "soak_minutes": given.soak_minutes, "bars": judge(figures, BARS)}
    finish({**head("gateway", command), **found}, given.save and not given.infinity_alone)
