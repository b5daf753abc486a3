"""The servers' processor time a request, over that of an older commit.

    python -m benchmarks.stack.cpu_cost --against DIR [--rounds 10]

DIR is a checkout of the older commit with a .venv of its own. Both stacks run side by side, the embedding cache off,
and take turns: in each round the same text embeddings, text searches and image searches, by eight clients. Processor
time is that of all processes of a stack, their ended children included. The last line is one JSON document with `bars`:
the ratio of the medians, with an interval of 95 % from resampled pairs of rounds.
"""

from __future__ import annotations

import base64
import statistics
import tempfile
from collections.abc import Sequence
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from benchmarks.lib.reports import finish, head, judge, options
from benchmarks.stack.demo_stack import captions
from benchmarks.stack.ready_stack import UNCACHED, ready_stack
from clipserve_client.sources.walking import Walk
from scripts.stack.live_stack import LiveStack
from scripts.tune.load import each_once

BAR, ROUNDS, CLIENTS, RESAMPLES = 1.05, 12, 8, 10_000
REQUESTS = {"text embedding": 1200, "text search": 1200, "image search": 400}
PLANNED_S = 45.0 + ROUNDS * 16.0


def measure(directory: Path, against: Path, rounds: int) -> dict[str, dict[str, Any]]:
    """By kind of request: medians of both, their ratio and its interval, and all rounds."""
    with ready_stack(directory / "old", UNCACHED, against) as old, ready_stack(directory / "new", UNCACHED) as new:
        found = _rounds((old, new), rounds)
    return {kind: compared(pairs) for kind, pairs in found.items()}


def _rounds(both: Sequence[LiveStack], rounds: int) -> dict[str, list[list[float]]]:
    """By kind: [old, new] µs a request in each round but the first, which warms up. The stacks take turns to begin."""
    bodies = _bodies(both[0])
    found: dict[str, list[list[float]]] = {kind: [] for kind in bodies}
    for number in range(rounds + 1):
        for kind, (path, own) in bodies.items():
            pair = [0.0, 0.0]
            for place in (0, 1) if number % 2 else (1, 0):
                pair[place] = _cost_us(both[place], path, own)
            found[kind] += [pair] if number else []
    return found


def _bodies(stack: LiveStack) -> dict[str, tuple[str, list[Any]]]:
    """Path and bodies by kind."""
    texts = [text for _, text in captions(stack)]
    gallery = [found for found in Walk(stack.data_dir / "demo" / "gallery") if not found.skipped]
    pictures = [base64.b64encode(Path(found.path).read_bytes()).decode() for found in gallery]
    bodies: dict[str, tuple[str, list[Any]]] = {
        "text embedding": ("/v1/embeddings", [{"input": text, "encoding_format": "base64"} for text in texts]),
        "text search": ("/v1/search", [{"collection": "demo", "text": text, "k": 10} for text in texts]),
        "image search": ("/v1/search", [{"collection": "demo", "image": each, "k": 10} for each in pictures]),
    }
    return {kind: (path, [*islice(cycle(own), REQUESTS[kind])]) for kind, (path, own) in bodies.items()}


def _cost_us(stack: LiveStack, path: str, bodies: list[Any]) -> float:
    """Raises RuntimeError when a request fails: a refusal costs less than an answer."""
    before = processor_s(stack.process.pid)
    load = each_once(stack.gateway + path, bodies, CLIENTS)
    if load.errors:
        raise RuntimeError(f"{load.errors} of {len(bodies)} requests to {path} failed")
    return (processor_s(stack.process.pid) - before) * 1e6 / len(bodies)


def processor_s(pid: int) -> float:
    """Of the process and all below it, those that have ended and were waited for included."""
    family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    return sum(sum(process.cpu_times()[:4]) for process in family)


def compared(pairs: Sequence[Sequence[float]]) -> dict[str, Any]:
    """Of pairs [old, new]: medians, ratio new ÷ old, and its 95 % interval."""
    old, new = (statistics.median(pair[place] for pair in pairs) for place in (0, 1))
    low, high = interval(pairs)
    return {"old_us": old, "new_us": new, "ratio": new / old, "interval": [low, high], "rounds": pairs}


def interval(pairs: Sequence[Sequence[float]], resamples: int = RESAMPLES) -> tuple[float, float]:
    """The middle 95 % of the ratio of medians over resampled rounds, whose pairs stay together."""
    rows = np.asarray(pairs, np.float64)
    drawn = rows[np.random.default_rng(0).integers(0, len(rows), (resamples, len(rows)))]
    old, new = np.median(drawn, axis=1).T
    low, high = np.quantile(new / old, [0.025, 0.975])
    return float(low), float(high)


def bars(costs: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """One a kind of request."""
    ratios = {f"processor time: {kind}": cost["ratio"] for kind, cost in costs.items()}
    return judge(ratios, dict.fromkeys(ratios, (BAR, "≤")))


def main() -> None:
    """Measure, print, and save when asked to."""
    parser = options(__doc__)
    parser.add_argument("--against", type=Path, required=True, help="checkout of an older commit, with its .venv")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="clipserve-bench-") as work:
        costs = measure(Path(work), given.against.resolve(), given.rounds)
    for kind, cost in costs.items():
        low, high = cost["interval"]
        print(f"{kind}: {cost['old_us']:.0f} → {cost['new_us']:.0f} µs, {cost['ratio']:.3f} ({low:.3f}–{high:.3f})")
    finish({**head("stack.cpu_cost"), "costs": costs, "bars": bars(costs)}, given.save)


if __name__ == "__main__":
    main()
