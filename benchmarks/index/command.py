"""The index service against FAISS: exact and approximate search, over HTTP and in process, with recall beside speed.

    make bench-index

Vectors and text queries come from a seeded generator (`data.py`); every ratio is taken within this run. Peers are
measured in turn with ours. The last line is one JSON document with `bars`.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Container
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from benchmarks.index.data import DIM, make
from benchmarks.index.engines import TARGET, Point, alone, backends, sweep
from benchmarks.index.exact import batch_against_flat, certified_against_flat, milliseconds
from benchmarks.index.live import K, LiveIndex, latencies, recall, while_compacting
from benchmarks.lib.reports import finish, head, judge, options, show
from clip_core.wire import FloatArray
from index_service.engines.approximate.segment import ApproximateSegment
from index_service.engines.base import IntArray
from index_service.engines.exact.scan import search_exact
from index_service.settings import IndexSettings

BARS = {
    "certified_vs_flat": (2.5, "≥"),
    "exact_batch_64_vs_flat": (4.0, "≥"),
    "ann_http_batch_16_vs_raw": (0.8, "≥"),
    "http_batch_16_beyond_raw_p50_ms": (0.8, "≤"),
    "http_search_beyond_raw_p50_ms": (1.0, "≤"),
    "auto_vs_best_engine_qps": (0.8, "≥"),
    "upsert_vectors_per_s": (8000.0, "≥"),
    "filtered_1_percent_vs_unfiltered_qps": (0.7, "≥"),
    "resident_vs_raw_vectors": (0.5, "≤"),
    "restart_s": (10.0, "≤"),
    "p99_during_compaction_vs_rest": (2.0, "≤"),
}
QUERIES, ROUNDS, FEW, _ROUNDS, _SETTLE_S = 1000, 25, "few", 5, 0.2
_ASKED, _CODED_S = 8, 15.0  # after so many searches by a filter its rows are coded, which takes some seconds
_SCANNED = IndexSettings.model_fields["exact_max_rows"].default  # so many are never merged for the sake of searches


def engines(
    images: FloatArray, queries: FloatArray, truth: IntArray, console: Console, names: Container[str] | None = None
) -> tuple[dict[str, float], list[Point], ApproximateSegment | None]:
    """Every engine's curve, or those of `names`; how near `auto` is to the best of them; its segment."""
    points, chosen, auto = list[Point](), dict[str, Point](), None
    known, asked = np.split(queries, 2)
    for name, backend in backends(len(images), DIM, known).items():
        if names is not None and name not in names:
            continue
        own, at, segment = sweep(name, backend, images, asked, truth, console.print)
        points += own
        chosen |= {} if at is None else {name: at}
        auto = segment if name == "auto" else auto
    good = [each for each in [*points, *chosen.values()] if each.recall >= TARGET]
    figures: dict[str, float] = {}
    if good and "auto" in chosen and names is None:
        figures["auto_vs_best_engine_qps"] = chosen["auto"].qps / max(each.qps for each in good)
        figures["auto_recall"] = chosen["auto"].recall
    console.print(*points, *chosen.values(), sep="\n")
    return figures, points, auto


def over_http(
    images: FloatArray, queries: FloatArray, truth: IntArray, auto: ApproximateSegment | None, folder: Path
) -> dict[str, float]:
    """Everything that a client of the service sees, and a restart."""
    figures: dict[str, float] = {}
    with LiveIndex(folder) as live:
        live.create(images.shape[1], recall_target=TARGET)
        for query in queries[: len(queries) // 2]:
            live.search(query[None])
        figures["upsert_vectors_per_s"] = live.fill(images)
        figures["resident_before_merges_vs_raw_vectors"] = live.memory()[0] / images.nbytes
        segment = live.settled(len(images) // (100 if len(images) > _SCANNED else 1))
        figures |= _searches(live, queries, truth, auto, segment)
        figures |= _without_a_search(live, images, queries)
        rest = latencies(live, np.tile(queries, (3, 1)))
        held, mapped = live.memory()
        figures["resident_vs_raw_vectors"] = held / images.nbytes
        figures["mapped_vs_raw_vectors"] = mapped / images.nbytes
        busy = while_compacting(live, images, queries)
        if len(busy) > 1:
            figures["p50_at_rest_ms"], figures["p50_during_compaction_ms"] = map(statistics.median, (rest, busy))
            slow, usual = (statistics.quantiles(times, n=100)[98] for times in (busy, rest))
            figures["p99_during_compaction_vs_rest"] = slow / usual
    with LiveIndex(folder) as live:
        figures["restart_s"] = live.ready_s
        figures["recall_after_restart"] = recall(live.search(queries[:64])[1], truth[:64])
    return figures


def _searches(
    live: LiveIndex, queries: FloatArray, truth: IntArray, auto: ApproximateSegment | None, segment: dict[str, Any]
) -> dict[str, float]:
    """Batches of 16 and lone searches over HTTP, in turn with the raw library at the service's own setting."""
    raw = None if auto is None or "search" not in segment else alone(auto, segment["search"])
    batches = _of_16(queries)
    found = [rows for batch in batches for rows in live.search(batch)[1]]
    many, lone = _in_turn(raw, live, batches), _in_turn(raw, live, [query[None] for query in queries])
    figures = {"http_recall": recall(found, truth[: len(found)]), **_filtered(live, queries)}
    figures |= {"http_search_p50_ms": lone[1], "http_batch_16_ms": many[1]}
    if raw is not None:
        figures["ann_http_batch_16_vs_raw"] = many[0] / many[1]
        figures["http_batch_16_beyond_raw_p50_ms"] = many[1] - many[0]
        figures["raw_recall"] = recall(raw.search(queries, 10)[1].tolist(), truth)
        figures["http_search_beyond_raw_p50_ms"] = lone[1] - lone[0]
    return figures


def _of_16(queries: FloatArray) -> list[FloatArray]:
    return [queries[start : start + 16] for start in range(0, len(queries) - 15, 16)]


def _without_a_search(live: LiveIndex, images: FloatArray, queries: FloatArray) -> dict[str, float]:
    """The same requests to a collection of so few items that finding them takes no time: what HTTP and JSON take."""
    live.create(images.shape[1], FEW)
    live.fill(images[:K], name=FEW)
    many = [live.search(batch, collection=FEW)[0] for _ in range(_ROUNDS) for batch in _of_16(queries)]
    lone = [live.search(query[None], collection=FEW)[0] for query in queries]
    return {"http_batch_16_of_few_ms": statistics.median(many), "http_search_of_few_ms": statistics.median(lone)}


def _filtered(live: LiveIndex, queries: FloatArray) -> dict[str, float]:
    """Searches by a filter that leaves one row in a hundred: the first ones, and those once it has come again."""
    hot = {"hot": True}
    first = latencies(live, queries[:_ASKED], filter=hot)[1:]
    time.sleep(_CODED_S)
    plain, later = latencies(live, queries[:200]), latencies(live, queries[:200], filter=hot)
    found, truth = (live.search(queries[:200], filter=hot, exact=exact)[1] for exact in (False, True))
    return {
        "filtered_1_percent_at_first_vs_unfiltered_qps": statistics.median(plain) / statistics.median(first),
        "filtered_1_percent_vs_unfiltered_qps": statistics.median(plain) / statistics.median(later),
        "filtered_1_percent_recall": recall(found, np.asarray(truth)),
    }


def _in_turn(raw: Any, live: LiveIndex, batches: list[FloatArray]) -> tuple[float, float]:
    """Median ms of the raw library and of the service, each for all `batches` before the other has its turn.

    Call by call, OpenMP's threads in this process would still spin on a core that the service needs.
    """
    theirs, ours = list[float](), list[float]()
    for _ in range(_ROUNDS):
        theirs += [0.0 if raw is None else milliseconds(partial(raw.search, batch, 10)) for batch in batches]
        time.sleep(_SETTLE_S)
        ours += [live.search(batch)[0] for batch in batches]
    return statistics.median(theirs), statistics.median(ours)


def measure(rows: int, console: Console) -> dict[str, Any]:
    """The whole run."""
    images, queries = make(rows, QUERIES)
    truth = search_exact(images, queries, 10, None)[1]
    one = certified_against_flat(images, queries, ROUNDS)
    many = batch_against_flat(images, queries, ROUNDS // 5)
    console.print({"certified": one, "batch of 64": many})
    figures = {"certified_vs_flat": one["ratio"], "exact_batch_64_vs_flat": many["ratio"]}
    figures["certified_recall"] = one["recall"]
    near, points, auto = engines(images, queries, truth[len(queries) // 2 :], console)
    with tempfile.TemporaryDirectory(prefix="clipserve-index-") as temporary:
        figures |= near | over_http(images, queries, truth, auto, Path(temporary))
    show(figures, BARS, console)
    return {"figures": figures, "exact": one, "batch": many, "points": [vars(each) for each in points]}


def measure_http(rows: int, console: Console) -> dict[str, Any]:
    """What a client of the service sees, with `auto` alone."""
    images, queries = make(rows, QUERIES)
    truth = search_exact(images, queries, 10, None)[1]
    _, points, auto = engines(images, queries, truth[len(queries) // 2 :], console, ("auto",))
    with tempfile.TemporaryDirectory(prefix="clipserve-index-") as temporary:
        figures = over_http(images, queries, truth, auto, Path(temporary))
    show(figures, BARS, console)
    return {"figures": figures, "points": [vars(each) for each in points]}


def main() -> None:
    """Measure, print, and save when asked to."""
    parser = options(__doc__)
    parser.add_argument("--rows", type=int, default=500_000)
    parser.add_argument("--http", action="store_true", help="only the service over HTTP, in a third of the time")
    given, console, started = parser.parse_args(), Console(), time.monotonic()
    name, run = ("index-http", measure_http) if given.http else ("index", measure)
    command = "python -m benchmarks.index --http" if given.http else "make bench-index"
    report = {**head(name, command), "rows": given.rows, **run(given.rows, console)}
    report |= {"seconds": round(time.monotonic() - started), "bars": judge(report["figures"], BARS)}
    finish(report, given.save)
