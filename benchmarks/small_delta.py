"""What a few items that are not merged yet cost the searches of a large collection, over HTTP.

    python -m benchmarks.small_delta [--rows 500000]

A collection of `auto` is filled and merged, then searched alone and with 1,000 items more. OPENBLAS_THREAD_TIMEOUT=26
before the command keeps OpenBLAS's own default, under which threads spin after scanning those items. Medians;
the last line is one JSON document.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.index_data import make
from benchmarks.index_live import LiveIndex, latencies
from benchmarks.machine import machine
from clip_core.wire import FloatArray

LATER, QUERIES, BATCH, ROUNDS, WARM_UPS = 1000, 400, 16, 5, 2


def measure(rows: int) -> dict[str, float]:
    """ms of a batch and of a lone search, p50, merged and with LATER items beside."""
    images, queries = make(rows + LATER, QUERIES)
    with (
        tempfile.TemporaryDirectory(prefix="clipserve-index-") as folder,
        LiveIndex(Path(folder), compact_rows=10 * LATER) as live,
    ):
        live.create(images.shape[1], recall_target=0.95)
        live.fill(images[:rows])
        live.settled(0)
        merged = _p50s(live, queries)
        live.fill(images[rows:], first=rows)
        beside = _p50s(live, queries)
        assert live.segment()["delta"] == LATER
    return {f"{name}_merged": ms for name, ms in merged.items()} | {f"{name}_beside": ms for name, ms in beside.items()}


def _p50s(live: LiveIndex, queries: FloatArray) -> dict[str, float]:
    batches = [queries[start : start + BATCH] for start in range(0, len(queries), BATCH)]
    for batch in batches * WARM_UPS:
        live.search(batch)
    many = [live.search(batch)[0] for _ in range(ROUNDS) for batch in batches]
    return {"batch_16_ms": statistics.median(many), "lone_ms": statistics.median(latencies(live, queries))}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=500_000)
    rows = parser.parse_args().rows
    found: dict[str, Any] = measure(rows)
    for name, ms in found.items():
        print(f"{name} {ms:.2f}")
    timeout = os.environ.get("OPENBLAS_THREAD_TIMEOUT")
    print(json.dumps({"benchmark": "small_delta", "machine": machine(), "rows": rows, "timeout": timeout, **found}))


if __name__ == "__main__":
    main()
