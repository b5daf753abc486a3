"""Exact search: float32 dot products find candidates, float64 dot products decide among them.

The result equals brute force in float64, provably. A float32 dot product of unit vectors of D dimensions is off by
at most (D + 2)·2⁻²⁴ (Higham, Accuracy and Stability of Numerical Algorithms, §3.1, with ‖q‖‖v‖ = 1), so a row whose
float32 score lies more than twice that below the k-th best can't be among the k best; all others are rescored.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import faiss
import numpy as np

from clip_core.wire import FloatArray
from index_service.backends.base import NO_ROW, BoolArray, Found, IntArray

_faiss: Any = faiss  # its stubs lack what is used here
_FEW_QUERIES = 4
_BLOCK_SCORES = 1 << 22  # scores held at a time: 16 MB
_BLOCK_ROWS = (1 << 10, 1 << 16)  # least and most rows of a block
_SPARSE = 0.5  # under this share of allowed rows, gathering them beats scoring all
_RESCORE_ROWS = 1 << 12


class ExactSegment:
    """Rows scanned one by one. `vectors` (N, D) float32, unit norm; kept, not copied."""

    engine = "exact"

    def __init__(self, vectors: FloatArray) -> None:
        self.vectors = vectors

    def search(self, queries: FloatArray, k: int, mask: BoolArray | None) -> Found:
        """See `Segment.search`."""
        return search_exact(self.vectors, queries, k, mask)

    def cost(self, batch: int) -> int:
        """See `Segment.cost`."""
        return batch * self.vectors.size


class ExactBackend:
    """Keeps the vectors as they are."""

    engine = "exact"

    def build(self, vectors: FloatArray, cancelled: Callable[[], bool] = lambda: False) -> ExactSegment:
        """See `Backend.build`; there is nothing to wait for, so nothing to cancel."""
        del cancelled
        return ExactSegment(vectors)


def search_exact(vectors: FloatArray, queries: FloatArray, k: int, mask: BoolArray | None) -> Found:
    """Brute force over `vectors` (N, D) for `queries` (B, D); the contract is `Segment.search`."""
    pools = [(np.empty(0, np.int64), np.empty(0, np.float32)) for _ in queries]
    slack = np.float32(2 * (vectors.shape[1] + 2) * 2.0**-24)
    for rows, scores in _blocks(vectors, queries, mask):
        for i, pool in enumerate(pools):
            pools[i] = _grow(pool, rows, scores[i], k, slack)
    best = [rescore(vectors, query, pool[0], k) for query, pool in zip(queries, pools, strict=True)]
    return padded(best, k)


def _blocks(vectors: FloatArray, queries: FloatArray, mask: BoolArray | None) -> Iterator[tuple[IntArray, FloatArray]]:
    """Row numbers (R,) and raw scores (B, R), block after block, without the masked rows."""
    least, most = _BLOCK_ROWS
    size = min(max(_BLOCK_SCORES // max(len(queries), 1), least), most)
    for start in range(0, len(vectors), size):
        block = vectors[start : start + size]
        if mask is None:
            yield np.arange(start, start + len(block)), _scores(queries, block)
            continue
        allowed = np.flatnonzero(mask[start : start + size])
        sparse = len(allowed) < _SPARSE * len(block)
        yield allowed + start, _scores(queries, block[allowed]) if sparse else _scores(queries, block)[:, allowed]


def _scores(queries: FloatArray, block: FloatArray) -> FloatArray:
    """(B, D) and (R, D) → (B, R).

    A few queries go one by one over FAISS's single-threaded kernel: BLAS would share them among threads that wait for
    each other, and where other processes keep the cores busy that took 8 ms instead of 1 (45,000 rows of 128).
    """
    if len(queries) > _FEW_QUERIES:
        return queries @ block.T
    scores = np.empty((len(queries), len(block)), np.float32)
    pointer, (count, dim) = _faiss.swig_ptr, block.shape
    for query, out in zip(np.ascontiguousarray(queries), scores, strict=True):
        _faiss.fvec_inner_products_ny(pointer(out), pointer(query), pointer(block), dim, count)
    return scores


def _grow(
    pool: tuple[IntArray, FloatArray], rows: IntArray, scores: FloatArray, k: int, slack: np.float32
) -> tuple[IntArray, FloatArray]:
    """Add a block's rows to the candidates and drop those that can't be among the k best any more."""
    if len(pool[0]) >= k:  # then all that counts is above the k-th best so far
        above = np.flatnonzero(scores >= _kth(pool[1], k) - slack)
        rows, scores = rows[above], scores[above]
    if len(pool[0]):
        rows, scores = np.concatenate((pool[0], rows)), np.concatenate((pool[1], scores))
    if len(scores) > k:
        above = np.flatnonzero(scores >= _kth(scores, k) - slack)
        rows, scores = rows[above], scores[above]
    return rows, scores


def _kth(scores: FloatArray, k: int) -> np.float32:
    place = len(scores) - k
    kth: np.float32 = np.partition(scores, place)[place]
    return kth


def rescore(vectors: FloatArray, query: FloatArray, rows: IntArray, k: int) -> Found:
    """The best k of `rows` (ascending) for `query` (D,), scored in float64: scores (K,), rows (K,)."""
    exact = query.astype(np.float64)
    parts = [
        np.vecdot(vectors[rows[start : start + _RESCORE_ROWS]].astype(np.float64), exact)
        for start in range(0, len(rows), _RESCORE_ROWS)
    ]
    scores = (parts[0] if len(parts) == 1 else np.concatenate([np.empty(0), *parts])).astype(np.float32)
    order = np.argsort(-scores, kind="stable")[:k]  # stable: ties stay in the order of rows
    return scores[order], rows[order]


def padded(found: list[Found], k: int) -> Found:
    """Results of each query (K_i,) → (B, K) of both; K is the longest, at most k."""
    width = min(k, max((len(rows) for _, rows in found), default=0))
    scores = np.full((len(found), width), -np.inf, np.float32)
    places = np.full((len(found), width), NO_ROW, np.int64)
    for i, (score, rows) in enumerate(found):
        scores[i, : len(rows)], places[i, : len(rows)] = score, rows
    return scores, places
