"""The service's FAISS engine on an NVIDIA GPU against the same index on the CPU, and what both find.

    python -m benchmarks.faiss_gpu [--rows 500000] [--save]

Takes faiss-gpu and a GPU. An index is built on the CPU, its effort chosen there for a recall@10 of 0.95 on half of the
queries; the other half are searched by batches, on the CPU and on the GPU in turn, through the service's own segment,
rescoring included. Medians of all rounds; the last line is one JSON document.
"""

from __future__ import annotations

import statistics
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.encoder_cuda import card
from benchmarks.index_data import make
from benchmarks.reports import finish, head, options
from clip_core.wire import FloatArray
from index_service.engines.approximate.approximate import ApproximateSegment
from index_service.engines.base import IntArray
from index_service.engines.exact.exact import search_exact
from index_service.engines.faiss.faiss import FaissBackend, FaissSeeker
from index_service.engines.faiss.faiss_gpu import copied_to_gpu

RESULTS = Path(__file__).resolve().parent / "results" / "faiss-gpu.json"
FACTORIES = ("IVF1024,Flat", "IVF1024,SQ8")
BATCHES = (1, 16, 256)
K, QUERIES, ROUNDS, TARGET = 10, 1024, 5, 0.95


def both(factory: str, images: FloatArray, sample: FloatArray) -> dict[str, ApproximateSegment]:
    """The segment as a CPU searches it and as a GPU does. Raises SystemExit where the GPU does not take it."""
    built = FaissBackend(factory, recall_target=TARGET, queries=sample).build(images)
    assert isinstance(built, ApproximateSegment)
    assert isinstance(built.seeker, FaissSeeker)
    copy = copied_to_gpu(built.seeker.index)
    if copy is None:
        raise SystemExit(f"{factory} can't be searched on a GPU here: it takes faiss-gpu and a GPU")
    return {"cpu": built, "gpu": replace(built, seeker=replace(built.seeker, gpu=copy))}


def seconds(segment: ApproximateSegment, queries: FloatArray, batch: int) -> list[float]:
    """Of one search of `batch` queries each."""
    taken = []
    for start in range(0, len(queries), batch):
        begun = time.perf_counter()
        segment.search(queries[start : start + batch], K, None)
        taken.append(time.perf_counter() - begun)
    return taken


def recall(segment: ApproximateSegment, queries: FloatArray, truth: IntArray) -> float:
    """Share of the true nearest K found, mean over the queries."""
    found = segment.search(queries, K, None)[1]
    return float(np.mean([len(np.intersect1d(ours, true)) / K for ours, true in zip(found, truth, strict=True)]))


def measure(factory: str, images: FloatArray, sample: FloatArray, queries: FloatArray) -> list[dict[str, Any]]:
    """A row for each batch size: queries a second on the CPU and on the GPU, recall beside them."""
    segments = both(factory, images, sample)
    truth = search_exact(images, queries, K, None)[1]
    recalls = {place: recall(segment, queries, truth) for place, segment in segments.items()}
    taken: dict[tuple[str, int], list[float]] = {(place, batch): [] for place in segments for batch in BATCHES}
    for _ in range(ROUNDS):
        for place, batch in taken:
            taken[place, batch] += seconds(segments[place], queries[: max(BATCHES[-1], 64 * batch)], batch)
    return [
        {
            "factory": factory,
            "nprobe": segments["cpu"].setting.effort,
            "batch": batch,
            **{f"{place}_queries_per_s": batch / statistics.median(taken[place, batch]) for place in segments},
            **{f"{place}_recall": recalls[place] for place in segments},
        }
        for batch in BATCHES
    ]


def show(rows: list[dict[str, Any]], console: Console) -> None:
    """Print the table."""
    table = Table("index", "nprobe", "batch", "CPU queries/s", "GPU queries/s", "GPU / CPU", "recall CPU", "recall GPU")
    for row in rows:
        cpu, gpu = row["cpu_queries_per_s"], row["gpu_queries_per_s"]
        speeds = (f"{cpu:,.0f}", f"{gpu:,.0f}", f"{gpu / cpu:.2f}")
        recalls = (f"{row['cpu_recall']:.4f}", f"{row['gpu_recall']:.4f}")
        table.add_row(row["factory"], str(row["nprobe"]), str(row["batch"]), *speeds, *recalls)
    console.print(table)


def main() -> None:
    """Measure and print."""
    arguments = options(__doc__, 500_000, RESULTS).parse_args()
    images, queries = make(arguments.rows, QUERIES)
    sample, asked = np.split(queries, 2)
    console = Console(stderr=True)
    with console.status("building and searching"):
        rows = [row for factory in FACTORIES for row in measure(factory, images, sample, asked)]
    show(rows, console)
    report = {**head("faiss_gpu"), "rows": arguments.rows, "faiss": faiss.__version__, "gpu": card(), "measured": rows}
    finish(report, RESULTS, arguments.save)


if __name__ == "__main__":
    main()
