"""Approximate search by FAISS: HNSW over full float32 vectors (Malkov & Yashunin, arXiv:1603.09320).

The module shares its name with the library; `import faiss` is absolute and gets the library.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import faiss
import numpy as np

from clip_core.wire import FloatArray
from index_service.backends.base import BoolArray, BuildCancelled, Found, IntArray
from index_service.backends.exact import padded, rescore, search_exact

_faiss: Any = faiss  # its stubs lack half of what is used here
_ADD_ROWS = 2048  # between two looks at `cancelled`
_SPARSE = 0.1  # under this share of allowed rows the graph falls apart: score them exactly
_FEW = 2000  # so few rows are scored faster than a graph is walked
_SAMPLE = 64
_MAX_EF = 4096


class HnswSegment:
    """`index` holds unit vectors; `ef` is how many candidates a search keeps."""

    engine = "hnsw"

    def __init__(self, index: Any, ef: int) -> None:
        self.index = index
        self.ef = ef

    @property
    def vectors(self) -> FloatArray:
        """(N, D), a view into the index's own storage: valid as long as the segment."""
        storage = _faiss.downcast_index(self.index.storage)
        flat = _faiss.rev_swig_ptr(storage.get_xb(), storage.ntotal * storage.d)
        rows: FloatArray = flat.reshape(storage.ntotal, storage.d)
        return rows

    def search(self, queries: FloatArray, k: int, mask: BoolArray | None) -> Found:
        """See `Segment.search`; which rows are found is approximate, their scores aren't."""
        vectors = self.vectors
        allowed = len(vectors) if mask is None else int(np.count_nonzero(mask))
        if allowed <= max(_FEW, _SPARSE * len(vectors), 4 * k):
            return search_exact(vectors, queries, k, mask)
        # A walk keeps masked candidates too, so it needs as many more as there are masked rows for each allowed one.
        ef = int(max(self.ef, 2 * k) * len(vectors) / allowed)
        rows = self._walk(queries, k, mask, ef)
        found = [rescore(vectors, query, np.sort(own[own >= 0]), k) for query, own in zip(queries, rows, strict=True)]
        for i, (scores, _) in enumerate(found):
            if len(scores) < k:  # the graph's allowed part isn't connected
                again = search_exact(vectors, queries[i : i + 1], k, mask)
                found[i] = (again[0][0], again[1][0])
        return padded(found, k)

    def _walk(self, queries: FloatArray, k: int, mask: BoolArray | None, ef: int) -> IntArray:
        """(B, K) rows, -1 where fewer were found."""
        extra: dict[str, Any] = {}
        if mask is not None:
            extra["sel"] = _faiss.IDSelectorBitmap(np.packbits(mask, bitorder="little"))
        parameters = _faiss.SearchParametersHNSW(efSearch=max(ef, k), **extra)
        rows: IntArray = self.index.search(np.ascontiguousarray(queries), k, params=parameters)[1]
        return rows

    def cost(self, batch: int) -> int:
        """See `Segment.cost`: each candidate kept looks at some tens of links."""
        return batch * self.ef * 32 * int(self.index.d)

    def save(self, path: Path) -> None:
        """Write the index, with what was calibrated, to `path`."""
        self.index.hnsw.efSearch = self.ef
        _faiss.write_index(self.index, str(path))

    def recall(self, queries: FloatArray, truth: IntArray, ef: int) -> float:
        """Mean share of `truth` (B, K) that a walk with `ef` finds."""
        found = self._walk(queries, truth.shape[1], None, ef)
        shares = [len(np.intersect1d(a, b)) / len(b) for a, b in zip(found, truth, strict=True)]
        return float(np.mean(shares))


@dataclass(frozen=True)
class HnswBackend:
    """`m` links a node; `recall_target`, when set, chooses `ef_search` by measuring on `queries` (Q, D) or on rows."""

    m: int = 32
    ef_construction: int = 200
    ef_search: int = 128
    threads: int = 0
    recall_target: float | None = None
    queries: FloatArray | None = None

    engine = "hnsw"

    def build(self, vectors: FloatArray, cancelled: Callable[[], bool] = lambda: False) -> HnswSegment:
        """See `Backend.build`."""
        _faiss.omp_set_num_threads(self.threads or os.cpu_count() or 1)
        index = _faiss.IndexHNSWFlat(vectors.shape[1], self.m, _faiss.METRIC_INNER_PRODUCT)
        index.hnsw.efConstruction = self.ef_construction
        for start in range(0, len(vectors), _ADD_ROWS):
            if cancelled():
                raise BuildCancelled
            index.add(np.ascontiguousarray(vectors[start : start + _ADD_ROWS]))
        segment = HnswSegment(index, self.ef_search)
        if self.recall_target is not None and len(vectors):
            segment.ef = calibrate(segment, self._sample(vectors), self.recall_target)
        return segment

    def load(self, path: Path, vectors: FloatArray) -> HnswSegment:
        """The segment that was saved at `path`; the file is known to be whole."""
        del vectors
        index = _faiss.read_index(str(path))
        return HnswSegment(index, index.hnsw.efSearch)

    def _sample(self, vectors: FloatArray) -> FloatArray:
        if self.queries is not None and len(self.queries) >= _SAMPLE // 2:
            return self.queries[-_SAMPLE:]
        rows = np.random.default_rng(0).choice(len(vectors), min(_SAMPLE, len(vectors)), replace=False)
        return vectors[rows]


def calibrate(segment: HnswSegment, queries: FloatArray, target: float, k: int = 10) -> int:
    """The least ef among powers of two whose recall@k on `queries` reaches `target`; else the largest."""
    truth = search_exact(segment.vectors, queries, k, None)[1]
    ef = 16
    while ef < _MAX_EF and segment.recall(queries, truth, ef) < target:
        ef *= 2
    return ef
