"""Where inverted lists lie: centroids in two stages against FAISS's own k-means, for clouds of several shapes.

    python -m benchmarks.clustering [--rows 500000] [--lists 2048] [--save]

Recall is the share of a query's true ten best that lie in the lists it looks into: what no coding can win back. Both
are trained on the same rows with as many rounds as FAISS gives inverted lists. The last line is one JSON document.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from rich.console import Console
from rich.progress import track

from benchmarks.index_data import DIM, Clusters, make
from benchmarks.index_engines import K
from benchmarks.index_exact import cores
from benchmarks.list_counts import SHAPES
from benchmarks.reports import finish, head, options
from clip_core.wire import FloatArray
from index_service.engines.base import IntArray
from index_service.engines.exact.exact import search_exact
from index_service.engines.faiss.clustering import centroids

PROBES = (1, 2, 4, 8, 16, 32)
QUERIES, TRAINED, ROUNDS = 400, 160_000, 10
RESULTS = Path(__file__).resolve().parent / "results" / "clustering.json"


def by_faiss(vectors: FloatArray, lists: int) -> FloatArray:
    """(lists, D) as `IVF…` trains them for inner products."""
    found = faiss.Kmeans(DIM, lists, niter=ROUNDS, spherical=True)
    found.train(vectors)
    assert found.centroids is not None
    return found.centroids


def in_two_stages(vectors: FloatArray, lists: int) -> FloatArray:
    """(lists, D) as the index service places them."""
    return centroids(vectors, lists, spherical=True)


def measure(rows: int, lists: int, clusters: Clusters) -> dict[str, dict[str, Any]]:
    """Seconds and recall by nprobe, of both."""
    images, queries = make(rows, QUERIES, clusters=clusters)
    truth = search_exact(images, queries, K, None)[1]
    chosen = np.random.default_rng(0).choice(rows, min(TRAINED, rows), replace=False)
    sample = images[np.sort(chosen)]
    ways: dict[str, Callable[[FloatArray, int], FloatArray]] = {"FAISS": by_faiss, "two stages": in_two_stages}
    found = {}
    for name, train in ways.items():
        started = time.perf_counter()
        placed = train(sample, lists)
        seconds = time.perf_counter() - started
        found[name] = {"train_s": seconds, "recall": recalls(placed, images[truth], queries)}
    return found


def recalls(placed: FloatArray, best: FloatArray, queries: FloatArray) -> dict[int, float]:
    """By nprobe, of the `best` (B, K, D) rows for `queries` (B, D)."""
    index = faiss.IndexFlatIP(DIM)
    index.add(placed)
    own: IntArray = index.search(best.reshape(-1, DIM), 1)[1].reshape(best.shape[:2])
    probed: IntArray = index.search(queries, PROBES[-1])[1]
    return {n: float((own[:, :, None] == probed[:, None, :n]).any(axis=2).mean()) for n in PROBES}


def main() -> None:
    """Measure and print."""
    parser = options(__doc__, 500_000, RESULTS)
    parser.add_argument("--lists", type=int, default=2048)
    arguments = parser.parse_args()
    faiss.omp_set_num_threads(cores())
    found = {}
    for shape, clusters in track(SHAPES.items(), "shapes", console=Console(stderr=True)):
        found[shape] = measure(arguments.rows, arguments.lists, clusters)
        for name, each in found[shape].items():
            shown = " ".join(f"{probe}:{recall:.3f}" for probe, recall in each["recall"].items())
            print(f"{shape}, {name}: trained in {each['train_s']:.1f} s, recall by nprobe {shown}", flush=True)
    report = {**head("clustering"), "rows": arguments.rows, "lists": arguments.lists, "shapes": found}
    finish(report, RESULTS, arguments.save)


if __name__ == "__main__":
    main()
