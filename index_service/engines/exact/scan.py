"""Exact search of a matrix: float32 dot products find candidates, float64 dot products decide among them.

The result provably equals brute force in float64. A row is left out only where its float32 score is below the k-th best
by more than both can be off (see `bounds`). All others are scored again in float64 (see `rescoring`).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import faiss
import numpy as np

from clip_core.wire import FloatArray
from index_service.engines.base import NO_ROW, BoolArray, Found, IntArray
from index_service.engines.bounds import score_tolerances
from index_service.engines.exact.rescoring import best_of, padded, rescore
from index_service.engines.top_k import TopK

_faiss: Any = faiss  # its stubs lack what is used here
_FEW_QUERIES = 4
_FEW_ROWS, _FEW_SCORES = 1 << 12, 1 << 17  # scored all at once
_BLOCK_SCORES = 1 << 19  # scores held at a time: 2 MB, which stay in the cache until they are compared
_BLOCK_ROWS = (1 << 10, 1 << 16)  # least and most rows of a block; the first one is small and sets the least scores
_SPARSE = 0.5  # under this share of allowed rows, scoring only those is faster than scoring all
_PART_ROWS = 1 << 10  # of a thread at least


def search_exact(
    vectors: FloatArray, queries: FloatArray, k: int, mask: BoolArray | None, max_norm: float | None = None
) -> Found:
    """Brute force over `vectors` (N, D) for `queries` (B, D); the contract is `Segment.search`.

    `max_norm` is a bound on the rows' norms, None where rows and queries are of unit norm.
    """
    queries = np.ascontiguousarray(queries)
    dense = mask is None or np.count_nonzero(mask) >= _SPARSE * len(vectors)
    if dense and len(vectors) <= _FEW_ROWS and len(vectors) * len(queries) <= _FEW_SCORES:
        return _search_few(vectors, queries, k, mask, max_norm)
    top_k = TopK(k, score_tolerances(queries, max_norm))
    if mask is None or dense:
        for start, end in _spans(len(vectors), len(queries)):
            allowed = None if mask is None else mask[start:end]
            top_k.add(np.arange(start, end), dot_products(queries, vectors[start:end]), allowed)
    else:
        rows = np.flatnonzero(mask)
        for start, end in _spans(len(rows), len(queries)):
            top_k.add(rows[start:end], _scores_of(queries, vectors, rows[start:end]))
    best = [rescore(vectors, query, rows, k) for query, rows in zip(queries, top_k.rows(), strict=True)]
    return padded(best, k)


def _spans(rows: int, batch: int) -> Iterator[tuple[int, int]]:
    """Blocks of rows, a small one first."""
    least, most = _BLOCK_ROWS
    size = min(max(_BLOCK_SCORES // max(batch, 1), least), most)
    yield from itertools.pairwise([0, *range(least, rows, size), rows])


def dot_products(queries: FloatArray, block: FloatArray) -> FloatArray:
    """(B, D) and (R, D) → (R, B).

    A few queries go one by one over FAISS's single-threaded kernel: BLAS would share them among threads that wait for
    each other, and where other processes keep the cores busy that took 8 ms instead of 1 (45,000 rows of 128).
    """
    if len(queries) > _FEW_QUERIES:
        return block @ queries.T
    scores = np.empty((len(queries), len(block)), np.float32)
    pointer, (count, dim) = _faiss.swig_ptr, block.shape
    for query, out in zip(queries, scores, strict=True):
        _faiss.fvec_inner_products_ny(pointer(out), pointer(query), pointer(block), dim, count)
    return np.ascontiguousarray(scores.T)


def _scores_of(queries: FloatArray, vectors: FloatArray, rows: IntArray) -> FloatArray:
    """`dot_products` of the given rows (R,) only; for a few queries they are read where they are, not copied."""
    if len(queries) > _FEW_QUERIES:
        return vectors[rows] @ queries.T
    return np.stack([_dots(query, vectors, rows) for query in queries], axis=1)


def _dots(query: FloatArray, vectors: FloatArray, rows: IntArray) -> FloatArray:
    """(R,). FAISS has a thread for each query, so the one `query` (D,) is given once for each part of `rows`."""
    parts = min(_faiss.omp_get_max_threads(), max(1, len(rows) // _PART_ROWS))
    size, pointer = -(-len(rows) // parts), _faiss.swig_ptr
    places, scores = np.full(parts * size, NO_ROW, np.int64), np.empty(parts * size, np.float32)
    places[: len(rows)] = rows
    queries = np.tile(query, parts)
    _faiss.fvec_inner_products_by_idx(
        pointer(scores), pointer(queries), pointer(vectors), pointer(places), vectors.shape[1], parts, size
    )
    return scores[: len(rows)]


def _search_few(
    vectors: FloatArray, queries: FloatArray, k: int, mask: BoolArray | None, max_norm: float | None
) -> Found:
    """`search_exact` of so few rows that all of their scores are held at once."""
    products = np.ascontiguousarray(dot_products(queries, vectors).T)
    if mask is not None:
        products[:, ~mask] = -np.inf
    rows = np.broadcast_to(np.arange(len(vectors)), products.shape)
    return best_of(vectors, queries, rows, products, k, max_norm)
