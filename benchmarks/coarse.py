"""What choosing inverted lists by codes of their centroids saves: the service's search in process against FAISS alone.

    python -m benchmarks.coarse [--rows 500000] [--save]

One index, as `auto` builds it, calibrated on half of the text queries and asked the others: by FAISS alone (with its
own float32 refining stage), by the service's segment without the codes, and by the segment as it is. Rounds alternate;
the last line is one JSON document with medians, and the speed of ours over FAISS's.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import faiss
from rich.console import Console
from rich.table import Table

from benchmarks.index_data import make
from benchmarks.index_engines import K, alone, as_auto
from benchmarks.index_exact import cores, milliseconds
from benchmarks.index_live import recall
from benchmarks.reports import finish, head, options
from clip_core.wire import FloatArray
from index_service.engines.approximate.approximate import ApproximateSegment
from index_service.engines.base import IntArray
from index_service.engines.exact.exact import search_exact
from index_service.engines.faiss.faiss import FaissSeeker

QUERIES, BATCHES, ROUNDS, SETTLE_S = 800, (1, 4, 16, 64), 7, 0.05
RESULTS = Path(__file__).resolve().parent / "results" / "coarse.json"
Search = Callable[[FloatArray], IntArray]


def searches(segment: ApproximateSegment) -> dict[str, Search]:
    """Each takes queries (B, D) and gives rows (B, K)."""
    seeker = segment.seeker
    assert isinstance(seeker, FaissSeeker)
    plain = replace(segment, seeker=replace(seeker, coarse=None))
    raw = alone(segment, {"nprobe": segment.setting.effort, "reorder": segment.setting.reorder})
    return {
        "FAISS alone": lambda queries: raw.search(queries, K)[1],
        "ours without the codes": lambda queries: plain.search(queries, K, None)[1],
        "ours": lambda queries: segment.search(queries, K, None)[1],
    }


def in_turn(tried: dict[str, Search], queries: FloatArray, batch: int) -> dict[str, float]:
    """Median ms of one call of each."""
    batches = [queries[at : at + batch] for at in range(0, len(queries) - batch + 1, batch)]
    times: dict[str, list[float]] = {name: [] for name in tried}
    for _ in range(ROUNDS):
        for name, search in tried.items():
            time.sleep(SETTLE_S)  # threads of the one before may still spin
            times[name] += [milliseconds(partial(search, each)) for each in batches]
    return {name: statistics.median(taken) for name, taken in times.items()}


def measure(rows: int, console: Console) -> dict[str, Any]:
    """Recall of each way to search, ms by batch, and how many times FAISS's speed ours is."""
    images, queries = make(rows, QUERIES)
    known, asked = queries[: QUERIES // 2], queries[QUERIES // 2 :]
    segment = as_auto(images, known, console)
    truth, tried = search_exact(images, asked, K, None)[1], searches(segment)
    recalls = {name: recall(search(asked).tolist(), truth) for name, search in tried.items()}
    faiss.omp_set_num_threads(cores())
    ms = {batch: in_turn(tried, asked, batch) for batch in BATCHES}
    ratios = {batch: taken["FAISS alone"] / taken["ours"] for batch, taken in ms.items()}
    return {"setting": segment.setting._asdict(), "recall": recalls, "ms": ms, "ours_vs_faiss": ratios}


def main() -> None:
    """Measure and print."""
    arguments, console = options(__doc__, 500_000, RESULTS).parse_args(), Console(stderr=True)
    found = measure(arguments.rows, console)
    table = Table("", "recall@10", *(f"{batch}, ms" for batch in BATCHES))
    for name, share in found["recall"].items():
        table.add_row(name, f"{share:.3f}", *(f"{found['ms'][batch][name]:.2f}" for batch in BATCHES))
    console.print(table)
    report = {**head("coarse"), "rows": arguments.rows, **found}
    finish(report, RESULTS, arguments.save)


if __name__ == "__main__":
    main()
