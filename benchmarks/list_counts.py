"""How many inverted lists `auto` should take: speed at the recall target by their number, for clouds of several shapes.

    python -m benchmarks.list_counts [--rows 200000] [--save]

The shapes differ by how much of an image's place its cluster explains, and by how many images a cluster has: an index
with as many lists as there are clusters is flattered by one shape alone. The last factory of a shape codes the rows,
the others what rows differ by from their centroid. Medians of alternating rounds; the last line is one JSON document.
"""

from __future__ import annotations

import math
import statistics
import time
from functools import partial
from pathlib import Path
from typing import Any

import faiss
from rich.console import Console
from rich.progress import track

from benchmarks.index_data import DIM, Clusters, make
from benchmarks.index_engines import TARGET, K
from benchmarks.index_exact import cores, milliseconds
from benchmarks.reports import finish, head, options
from clip_core.wire import FloatArray
from index_service.engines.approximate.approximate import ApproximateSegment
from index_service.engines.base import IntArray
from index_service.engines.exact.exact import search_exact
from index_service.engines.faiss.faiss import FaissBackend

SHAPES = {
    "clusters of 250": Clusters(),
    "clusters of 5,000": Clusters(rows=5000),
    "weak clusters": Clusters(share=0.3),
    "no clusters": Clusters(share=0.0),
}
FACTORS = (1.4, 2.8, 5.6)
QUERIES, BATCH, ROUNDS, LEAST = 400, 16, 5, 100_000
RESULTS = Path(__file__).resolve().parent / "results" / "list_counts.json"


def factories(rows: int) -> list[str]:
    """By the square root of `rows` times each factor; then the number in the middle without residuals."""
    counts = [1 << round(math.log2(factor * math.sqrt(rows))) for factor in FACTORS]
    return [*(f"IVF{count},PQ{DIM // 2}x4fsr" for count in counts), f"IVF{counts[1]},PQ{DIM // 2}x4fs"]


def measure(rows: int, clusters: Clusters) -> list[dict[str, Any]]:
    """One entry for each factory: calibrated on half of the queries, measured on the others."""
    images, queries = make(rows, QUERIES, clusters=clusters)
    known, asked = queries[: QUERIES // 2], queries[QUERIES // 2 :]
    truth = search_exact(images, asked, K, None)[1]
    built: dict[str, ApproximateSegment] = {}
    seconds: dict[str, float] = {}
    for factory in factories(rows):
        started = time.perf_counter()
        segment = FaissBackend(factory, threads=cores(), recall_target=TARGET, queries=known).build(images)
        seconds[factory] = time.perf_counter() - started
        assert isinstance(segment, ApproximateSegment)
        built[factory] = segment
    times = _in_turn(built, asked)
    return [{**_row(name, built[name], asked, truth), "build_s": seconds[name], **times[name]} for name in built]


def _row(factory: str, segment: ApproximateSegment, queries: FloatArray, truth: IntArray) -> dict[str, Any]:
    recall = float(segment.recall(queries, truth, segment.setting).mean())
    return {"factory": factory, "nprobe": segment.setting.effort, "reorder": segment.setting.reorder, "recall": recall}


def _in_turn(built: dict[str, ApproximateSegment], queries: FloatArray) -> dict[str, dict[str, float]]:
    """ms of a lone search and of a batch."""
    faiss.omp_set_num_threads(cores())
    times: dict[str, dict[int, list[float]]] = {name: {1: [], BATCH: []} for name in built}
    for _ in range(ROUNDS):
        for name, segment in built.items():
            for size, taken in times[name].items():
                batches = [queries[at : at + size] for at in range(0, len(queries) - size + 1, size)]
                taken += [milliseconds(partial(segment.search, batch, K, None)) for batch in batches]
    return {
        name: {"lone_ms": statistics.median(each[1]), "batch_16_ms": statistics.median(each[BATCH])}
        for name, each in times.items()
    }


def main() -> None:
    """Measure and print."""
    parser = options(__doc__, 200_000, RESULTS)
    arguments = parser.parse_args()
    rows, console = arguments.rows, Console(stderr=True)
    if rows < LEAST:
        parser.error(f"the most lists need {LEAST:,} rows to be trained on")
    found: dict[str, list[dict[str, Any]]] = {}
    for shape, clusters in track(SHAPES.items(), "shapes", console=console):
        found[shape] = measure(rows, clusters)
        for row in found[shape]:
            print(shape, *(f"{name}={value:.4g}" if name != "factory" else value for name, value in row.items()))
    report = {**head("list_counts"), "rows": rows, "shapes": found}
    finish(report, RESULTS, arguments.save)


if __name__ == "__main__":
    main()
