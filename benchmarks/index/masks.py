"""Searches by filters that are about what the query is about, and by others: recall and processor time of three rules.

    python -m benchmarks.index.masks

Vectors and text queries come from a seeded generator (`data.py`). A row's topic is the nearest of 200 images; a
filter by topic allows a random half or tenth of them, and so takes away just what many queries are about. `best
deleted`: the thousandth of the rows that a query likes best is gone.

`ours` is the service's search, which estimates what it missed and retries. `plain` never retries: it scans where less
than 30 % of the rows are allowed, else it looks into twice as many lists as their share calls for; `plain_8` into eight
times as many. `faiss` is FAISS alone: its own selector and refining stage, and as many lists as the share calls for.
All use the same index. One query at a time, one thread, all in turn. The last line is one JSON document.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import faiss
import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.index.data import DIM, make
from benchmarks.index.engines import backends
from benchmarks.index.live import K, recall
from benchmarks.lib.reports import finish, head, options
from clip_core.wire import FloatArray
from index_service.engines.approximate.segment import ApproximateSegment
from index_service.engines.base import BoolArray, IntArray
from index_service.engines.exact.rescoring import rescore_all
from index_service.engines.exact.scan import search_exact
from index_service.engines.faiss.index_search import FaissSearch

_faiss: Any = faiss  # its stubs lack half of what is used here
KNOWN, ASKED, TOPICS, DELETED, _TIMED = 500, 100, 200, 0.001, 2
_SCANNED_SHARE, _MASKED_CANDIDATES = 0.3, 2  # of the plain rules; as many more candidates, as in the service
_RULES = {
    "ours": "retried",
    "plain": "scan, or twice the lists",
    "plain_8": "scan, or eight times the lists",
    "faiss": "FAISS alone",
}
Masks = Callable[[FloatArray], BoolArray]
Search = Callable[[FloatArray, BoolArray], IntArray]


def topics(images: FloatArray) -> IntArray:
    """(N,): the nearest of some images, for each."""
    chosen = images[np.random.default_rng(1).choice(len(images), TOPICS, replace=False)]
    block = 50_000
    parts = [np.argmax(images[start : start + block] @ chosen.T, axis=1) for start in range(0, len(images), block)]
    return np.concatenate(parts)


def cases(images: FloatArray) -> dict[str, Masks]:
    """What a filter leaves for a query (D,)."""
    draw, topic = np.random.default_rng(2), topics(images)
    kept: dict[str, Masks] = {}
    for name, share in (("half", 0.5), ("tenth", 0.1)):
        some = draw.random(len(images)) < share
        of_topics = np.isin(topic, draw.permutation(TOPICS)[: round(share * TOPICS)])
        kept[f"a random {name}"] = _always(some)
        kept[f"a {name} of the topics"] = _always(of_topics)
    return {**kept, "best deleted": partial(_without_best, images)}


def _always(mask: BoolArray) -> Masks:
    return lambda _: mask


def _without_best(images: FloatArray, query: FloatArray) -> BoolArray:
    scores = images @ query
    most = round(DELETED * len(scores))
    mask = np.ones(len(scores), np.bool_)
    mask[np.argpartition(-scores, most)[:most]] = False
    return mask


def faiss_alone(segment: ApproximateSegment) -> Search:
    """FAISS's own search by a selector, with its own float32 refining stage."""
    assert isinstance(segment.candidate_search, FaissSearch)
    vectors = np.ascontiguousarray(segment.vectors)
    refined = _faiss.IndexRefineFlat(segment.candidate_search.index, _faiss.swig_ptr(vectors))

    def search(queries: FloatArray, mask: BoolArray) -> IntArray:
        selector = _faiss.IDSelectorBitmap(np.packbits(mask, bitorder="little"))
        inner = _faiss.SearchParametersIVF(nprobe=int(segment.parameters.effort / mask.mean()), sel=selector)
        parameters = _faiss.IndexRefineSearchParameters(
            k_factor=segment.parameters.rerank_factor, base_index_params=inner
        )
        rows: IntArray = refined.search(queries, K, params=parameters)[1]
        return rows

    return search


def plain(segment: ApproximateSegment, factor: int) -> Search:
    """The rule without retries, with `factor` times as many lists as the share of allowed rows calls for."""
    search, (effort, rerank) = segment.candidate_search, segment.parameters

    def searched(queries: FloatArray, mask: BoolArray) -> IntArray:
        share = float(mask.mean())
        if share < _SCANNED_SHARE:
            return search_exact(segment.vectors, queries, K, mask)[1]
        lists = min(int(factor * effort / share), search.efforts[-1])
        rows = search.search(queries, _MASKED_CANDIDATES * K * rerank, lists, mask)
        return rescore_all(segment.vectors, queries, rows, K)[1]

    return searched


def cpu_ms(search: Search, queries: FloatArray, mask: BoolArray) -> tuple[IntArray, float]:
    """What is found, and the least processor time of this thread."""
    times = []
    for _ in range(_TIMED):
        started = time.thread_time()
        rows = search(queries, mask)
        times.append(time.thread_time() - started)
    return rows, min(times) * 1e3


def compared(segment: ApproximateSegment, queries: FloatArray, masks: Masks) -> dict[str, float]:
    """Recall and processor ms, median and mean, by each rule."""
    tried: dict[str, Search] = {"ours": lambda q, mask: segment.search(q, K, mask)[1], "faiss": faiss_alone(segment)}
    tried |= {"plain": plain(segment, 2), "plain_8": plain(segment, 8)}
    found: dict[str, list[list[int]]] = {name: [] for name in tried}
    times: dict[str, list[float]] = {name: [] for name in tried}
    truth = []
    for query in queries:
        mask = masks(query)
        truth.append(search_exact(segment.vectors, query[None], K, mask)[1][0])
        for name, search in tried.items():
            rows, ms = cpu_ms(search, query[None], mask)
            found[name].append(rows[0].tolist())
            times[name].append(ms)
    figures = {}
    for name in found:
        figures[f"{name}_recall"] = recall(found[name], np.array(truth))
        figures[f"{name}_cpu_ms"] = statistics.median(times[name])
        figures[f"{name}_mean_cpu_ms"] = statistics.mean(times[name])
    return figures


def measure(rows: int, console: Console) -> dict[str, Any]:
    """Every case; the index is the one that `auto` takes."""
    images, queries = make(rows, KNOWN + ASKED)
    console.print(f"building what auto takes for {rows:,} rows …")
    segment = backends(rows, DIM, queries[:KNOWN])["auto"].build(images)
    assert isinstance(segment, ApproximateSegment), "so few rows are scanned"
    faiss.omp_set_num_threads(1)
    figures = {name: compared(segment, queries[KNOWN:], masks) for name, masks in cases(images).items()}
    return {"setting": segment.parameters._asdict(), "usual": segment.thresholds._asdict(), "masks": figures}


def main() -> None:
    """Measure, print, and save when asked to."""
    parser = options(__doc__)
    parser.add_argument("--rows", type=int, default=500_000)
    given, console = parser.parse_args(), Console(stderr=True)
    found = measure(given.rows, console)
    table = Table("a filter leaves", *(f"{rule}: recall@10, CPU ms (mean)" for rule in _RULES.values()))
    for name, own in found["masks"].items():
        cells = ((own[f"{who}_recall"], own[f"{who}_cpu_ms"], own[f"{who}_mean_cpu_ms"]) for who in _RULES)
        table.add_row(name, *(f"{a:.3f}  {b:.2f} ({c:.2f})" for a, b, c in cells))
    console.print(table)
    finish({**head("index.masks"), "rows": given.rows, **found}, given.save)


if __name__ == "__main__":
    main()
