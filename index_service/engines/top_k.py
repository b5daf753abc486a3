"""The top k of a batch of queries, kept while rows are scored block after block."""

from __future__ import annotations

import itertools

import numpy as np

from clip_core.wire import FloatArray
from index_service.engines.base import BoolArray, IntArray

_PENDING = 1024  # hits, and two for each one wanted, that are gathered before the least scores are raised


class TopK:
    """For each query of a batch, the rows that may be among its `k` best. Each score may be off by half its tolerance.

    Scores below a query's least score are dropped at once. The least scores are raised only every so many hits, so that
    one comparison of a whole block does nearly all the work.
    """

    def __init__(self, k: int, tolerances: FloatArray) -> None:
        """`tolerances` (B,) float32: see `bounds.score_tolerances`."""
        self._batch, self._k, self._tolerances = len(tolerances), k, tolerances
        self._min_scores = np.full(self._batch, -np.inf, np.float32)
        self._hits: list[tuple[IntArray, IntArray, FloatArray]] = []
        self._pending = 0

    def add(self, rows: IntArray, scores: FloatArray, mask: BoolArray | None = None) -> None:
        """Add `rows` (R,), ascending and after earlier ones: `scores` (R, B) in C order; `mask` (R,) allows some."""
        above = scores >= self._min_scores
        if mask is not None:
            above &= mask[:, None]
        hits = np.flatnonzero(above)
        places, queries = np.divmod(hits, self._batch)
        self._hits.append((queries, rows[places], scores.ravel()[hits]))
        self._pending += len(hits)
        if self._pending > _PENDING + 2 * self._k * self._batch:
            self._hits = [self._raised()]
            self._pending = 0

    def _raised(self) -> tuple[IntArray, IntArray, FloatArray]:
        """Raise the least scores; the hits above them, ordered by query."""
        queries, rows, scores = (np.concatenate(column) for column in zip(*self._hits, strict=True))
        order = np.argsort(queries, kind="stable")
        queries, rows, scores = queries[order], rows[order], scores[order]
        ends = np.searchsorted(queries, np.arange(self._batch + 1))
        for i, (start, end) in enumerate(itertools.pairwise(ends)):
            if end - start > self._k:
                kth = np.partition(scores[start:end], end - start - self._k)[end - start - self._k]
                self._min_scores[i] = max(self._min_scores[i], kth - self._tolerances[i])
        kept = scores >= self._min_scores[queries]
        return queries[kept], rows[kept], scores[kept]

    def rows(self) -> list[IntArray]:
        """The rows (R_i,) of each query, ascending."""
        if not self._hits:
            return [np.empty(0, np.int64)] * self._batch
        queries, rows, _ = self._raised()
        return np.split(rows, np.searchsorted(queries, np.arange(1, self._batch)))
