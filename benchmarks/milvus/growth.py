"""One collection in each store as it grows: searches, recall, and whose memory it takes."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path

import psutil

from benchmarks.index.data import DIM
from benchmarks.index.live import K, LiveIndex, latencies, recall
from benchmarks.lib.milvus_server import MilvusServer
from benchmarks.milvus.peer import PymilvusPeer
from clip_core.wire import FloatArray
from index_service.engines.exact.scan import search_exact

ROUNDS = 5


def compared(live: LiveIndex, peer: PymilvusPeer, queries: FloatArray, at: str) -> dict[str, float]:
    """p50 of batches of 1 and 16, each side all of a round before the other has its turn."""
    figures: dict[str, float] = {}
    for size, name in ((1, f"search_{at}"), (16, f"search_batch_16_{at}")):
        batches = [queries[start : start + size] for start in range(0, len(queries) - size + 1, size)]
        ours, theirs = list[float](), list[float]()
        for _ in range(ROUNDS * (2 if size > 1 else 1)):
            theirs += [peer.search(batch) for batch in batches]
            ours += [live.search(batch, consistency="eventually")[0] for batch in batches]
        figures[f"{name}_p50_ms"], figures[f"{name}_pymilvus_p50_ms"] = map(statistics.median, (ours, theirs))
        figures[f"{name}_vs_pymilvus_p50"] = statistics.median(ours) / statistics.median(theirs)
    return figures


class InMilvus:
    """The collection of `live` in `server`, which has so many `rows`, step by step."""

    def __init__(self, live: LiveIndex, peer: PymilvusPeer, server: MilvusServer, rows: int) -> None:
        self._live, self._peer, self._server, self._rows = live, peer, server, rows

    def grow(self, images: FloatArray, queries: FloatArray, rows: int) -> dict[str, float]:
        """To so many rows, all sealed and indexed, and figures of it."""
        at, figures = named(rows), dict[str, float]()
        if rows > self._rows:
            figures[f"milvus_fill_to_{at}_per_s"] = self._live.fill(images[self._rows : rows], first=self._rows)
        self._rows = rows
        self._peer.settle(rows)
        figures |= compared(self._live, self._peer, queries, at)
        truth = search_exact(images[:rows], queries, K, None)[1]
        figures[f"milvus_recall_{at}"] = recall(self._live.search(queries, consistency="strong")[1], truth)
        for query in queries:
            self._live.search(query[None])
        figures[f"index_service_memory_{at}_mb"] = self._live.memory()[0] / 1e6
        figures[f"milvus_memory_{at}_mb"] = psutil.Process(self._server.pid).memory_info().rss / 1e6
        return figures


def embedded(folder: Path, images: FloatArray, queries: FloatArray, steps: Sequence[int]) -> dict[str, float]:
    """The same in the embedded store, whose own record and engines hold it."""
    figures: dict[str, float] = {}
    with LiveIndex(folder) as live:
        live.create(DIM, store="embedded", recall_target=0.95)
        before = 0
        for rows in steps:
            at, filled = named(rows), live.fill(images[before:rows], first=before)
            before = rows
            live.settled(rows // 8)
            truth = search_exact(images[:rows], queries, K, None)[1]
            figures[f"embedded_fill_to_{at}_per_s"] = filled
            figures[f"embedded_search_{at}_p50_ms"] = statistics.median(latencies(live, queries))
            figures[f"embedded_recall_{at}"] = recall(live.search(queries)[1], truth)
            figures[f"embedded_memory_{at}_mb"] = sum(live.memory()) / 1e6
    return figures


def named(rows: int) -> str:
    """10000 → 10k."""
    return f"{rows // 1000}k"
