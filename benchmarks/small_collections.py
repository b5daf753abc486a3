"""Small collections over HTTP: `auto`, which finds everything by int8 codes, against the engine `exact`, which scans.

    python -m benchmarks.small_collections [--rows 10000 40000]

Both hold the same vectors in a service of their own and are searched in turn; the rows found must be the same. Medians
of all rounds; the last line is one JSON document.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.index_data import make
from benchmarks.index_live import LiveIndex, latencies
from benchmarks.machine import machine
from clip_core.wire import FloatArray

ENGINES = ("exact", "auto")
QUERIES, ROUNDS = 200, 3


def measure(rows: int) -> dict[str, Any]:
    """ms of one search, p50, by engine, and how much sooner `auto` answers. Raises AssertionError for other rows."""
    images, queries = make(rows, QUERIES)
    with (
        tempfile.TemporaryDirectory(prefix="clipserve-index-") as folder,
        LiveIndex(Path(folder) / "exact") as exact,
        LiveIndex(Path(folder) / "auto") as auto,
    ):
        live = dict(zip(ENGINES, (exact, auto), strict=True))
        for engine, service in live.items():
            service.create(images.shape[1], engine=engine)
            service.fill(images)
            service.settled(rows)
        assert exact.search(queries[:32])[1] == auto.search(queries[:32])[1]
        times = _in_turn(live, queries)
    medians = {f"{engine}_p50_ms": statistics.median(times[engine]) for engine in ENGINES}
    return {"rows": rows, **medians, "ratio": medians["exact_p50_ms"] / medians["auto_p50_ms"]}


def _in_turn(live: dict[str, LiveIndex], queries: FloatArray) -> dict[str, list[float]]:
    times: dict[str, list[float]] = {engine: [] for engine in live}
    for _ in range(ROUNDS):
        for engine, service in live.items():
            times[engine] += latencies(service, queries)
    return times


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 40_000])
    found = [measure(rows) for rows in parser.parse_args().rows]
    for row in found:
        print(" ".join(f"{name}={value:.3g}" for name, value in row.items()))
    print(json.dumps({"benchmark": "small_collections", "machine": machine(), "rows": found}))


if __name__ == "__main__":
    main()
