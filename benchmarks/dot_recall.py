"""What each engine finds of the largest inner products, on rows whose norms spread: recall@10 beside milliseconds.

    python -m benchmarks.dot_recall [ROWS]

CLIP-like images of 128 dimensions, whose norms are lognormal with sigma 0, 0.3 and 0.7 (the longest of 50,000 is some
3 and 17 times the median), are searched with text queries, one at a time and one thread, at the setting that was
calibrated to 0.95 on other queries: all rows, a random half, and the shorter half, which long rows crowd out. An exact
scan is measured in the same run. Each recall but the exact ones' has the bar 0.95 - 0.02, since the queries differ. The
last line is one JSON document.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from typing import Any

import faiss
import numpy as np

from benchmarks.index_data import make
from benchmarks.machine import machine
from clip_core.wire import FloatArray
from index_service.engines.approximate.scann import ScannBackend
from index_service.engines.base import Backend, BoolArray, IntArray
from index_service.engines.exact.certified import CertifiedBackend
from index_service.engines.exact.exact import ExactBackend
from index_service.engines.faiss.faiss import FaissBackend
from index_service.segments.engine_choice import auto_factory

Json = dict[str, Any]
_faiss: Any = faiss
DIM, QUERIES, K, TARGET, SPARE = 128, 200, 10, 0.95, 0.02
SIGMAS = (0.0, 0.3, 0.7)


def backends(rows: int, queries: FloatArray) -> dict[str, Backend]:
    """What is tried, by name; the exact scan first."""
    auto = auto_factory(rows, DIM)
    lists = auto.partition(",")[0]

    def made(factory: str) -> FaissBackend:
        return FaissBackend(factory, threads=2, recall_target=TARGET, queries=queries, metric="dot")

    return {
        "exact": ExactBackend("dot"),
        "certified": CertifiedBackend("dot"),
        "auto": made(auto),
        "IVF,SQ8": made(f"{lists},SQ8"),
        "IVF,RaBitQ": made(f"{lists},RaBitQ"),
        "HNSW32": made("HNSW32"),
        "scann": ScannBackend(2, TARGET, queries, "dot"),
    }


def masks(rows: FloatArray) -> dict[str, BoolArray | None]:
    """Which rows are let through, by name."""
    norms = np.linalg.norm(rows, axis=1)
    return {"all": None, "half": np.random.default_rng(3).random(len(rows)) < 0.5, "short": norms <= np.median(norms)}


def measured(rows: FloatArray, queries: FloatArray, sigma: float) -> Iterator[Json]:
    """One record for each engine and mask; the last QUERIES of `queries` are asked, the others calibrate."""
    asked, truths = queries[-QUERIES:], dict[str, list[IntArray]]()
    for engine, backend in backends(len(rows), queries[:-QUERIES]).items():
        _faiss.omp_set_num_threads(2)
        started = time.perf_counter()
        segment = backend.build(rows)
        built = time.perf_counter() - started
        for name, mask in masks(rows).items():
            _faiss.omp_set_num_threads(1)
            started = time.perf_counter()
            found = [segment.search(query[None], K, mask)[1][0] for query in asked]
            ms = (time.perf_counter() - started) / len(asked) * 1e3
            truth = truths.setdefault(name, found)
            record = {
                "engine": engine,
                "sigma": sigma,
                "rows": name,
                "recall": recall(found, truth),
                "ms": round(ms, 3),
            }
            print(record, f"built in {built:.1f} s", getattr(segment, "described", {}).get("search", ""), flush=True)
            yield record


def recall(found: list[IntArray], truth: list[IntArray]) -> float:
    """The mean share of the true rows that were found."""
    return round(float(np.mean([len(np.intersect1d(a, b)) / K for a, b in zip(found, truth, strict=True)])), 4)


def main() -> None:
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 50_000
    images, texts = make(rows, 2 * QUERIES, dim=DIM)
    records: list[Json] = []
    for sigma in SIGMAS:
        norms = np.random.default_rng(1).lognormal(0, sigma, (rows, 1)).astype(np.float32)
        records += measured(images * norms, texts, sigma)
    report = {"benchmark": "dot_recall", **machine(), "rows": rows, "records": records, "bars": [*map(bar, records)]}
    print(json.dumps(report))


def bar(record: Json) -> Json:
    """The record's recall against what it is to reach."""
    name = f"{record['engine']}, sigma {record['sigma']}, {record['rows']}"
    least = 1.0 if record["engine"] in ("exact", "certified") else TARGET - SPARE
    return {"name": name, "value": record["recall"], "bar": least, "holds": record["recall"] >= least}


if __name__ == "__main__":
    main()
