"""The best of some candidates, decided by float64 dot products."""

from __future__ import annotations

from typing import Any

import faiss
import numpy as np

from clip_core.wire import FloatArray
from index_service.engines.base import NO_ROW, Found, IntArray
from index_service.engines.bounds import score_tolerances

_faiss: Any = faiss  # its stubs lack what is used here
_RESCORE_ROWS = 1 << 12
_SPARE = 6  # candidates beside the wanted k, for rows that float32 can't tell apart


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


def rescore_all(
    vectors: FloatArray, queries: FloatArray, rows: IntArray, k: int, max_norm: float | None = None
) -> Found:
    """`rescore` for each of `queries` (B, D) among its candidates `rows` (B, C), where -1 stands for none.

    float32 products, read where the vectors lie, leave some k candidates for float64, as in `search_exact`.
    """
    if len(queries) == 1 and rows.shape[1] > k + _SPARE and rows.min() >= 0:  # FAISS has one thread for few queries
        products, first = _nearest_in_float32(vectors, queries, rows, k + _SPARE)
        near = products >= (products[:, k - 1] - score_tolerances(queries, max_norm))[:, None]
        if not near[0, -1]:  # else there may be more of them
            return _best_in_float64(vectors, queries, first[near][None], k)
    return best_of(vectors, queries, rows, _float32_scores(vectors, queries, rows), k, max_norm)


def best_of(
    vectors: FloatArray, queries: FloatArray, rows: IntArray, products: FloatArray, k: int, max_norm: float | None
) -> Found:
    """The best k of each query's `rows` (B, C) by float64, given all float32 `products` (B, C), -inf for none."""
    kth = products.shape[1] - k
    min_scores = np.partition(products, kth, axis=1)[:, kth] if kth >= 0 else np.full(len(products), -np.inf)
    near = (products >= (min_scores - score_tolerances(queries, max_norm))[:, None]) & (products > -np.inf)
    asked, places = np.nonzero(near)
    counts = np.count_nonzero(near, axis=1)
    best = np.full((len(rows), int(counts.max(initial=0))), NO_ROW, np.int64)
    best[asked, np.arange(len(asked)) - np.repeat(np.cumsum(counts) - counts, counts)] = rows[asked, places]
    return _best_in_float64(vectors, queries, best, k)


def _best_in_float64(vectors: FloatArray, queries: FloatArray, rows: IntArray, k: int) -> Found:
    """The best k of each query's `rows` (B, C) by float64; -1 for none."""
    scores = _float64_scores(vectors, queries, rows)
    order = np.lexsort((rows, -scores), axis=1)[:, :k]  # ties in the order of rows
    each = np.arange(len(rows))[:, None]
    return scores[each, order], rows[each, order]


def _nearest_in_float32(vectors: FloatArray, queries: FloatArray, rows: IntArray, count: int) -> Found:
    """float32 products (B, count), descending, of each query with the best of its own `rows` (B, C), and these."""
    queries, rows = np.ascontiguousarray(queries), np.ascontiguousarray(rows, np.int64)
    batch, candidates = rows.shape
    products, best = np.empty((batch, count), np.float32), np.empty((batch, count), np.int64)
    pointer = _faiss.swig_ptr
    _faiss.knn_inner_products_by_idx(
        pointer(queries),
        pointer(vectors),
        pointer(rows),
        vectors.shape[1],
        batch,
        len(vectors),
        candidates,
        count,
        pointer(products),
        pointer(best),
        candidates,  # a row of `rows`; FAISS would take as many as there are vectors
    )
    return products, best


def _float32_scores(vectors: FloatArray, queries: FloatArray, rows: IntArray) -> FloatArray:
    """(B, C): each of `queries` with its own `rows` (B, C); -inf for none."""
    queries, rows = np.ascontiguousarray(queries), np.ascontiguousarray(rows, np.int64)
    products = np.empty(rows.shape, np.float32)
    pointer, (batch, count), dim = _faiss.swig_ptr, rows.shape, vectors.shape[1]
    _faiss.fvec_inner_products_by_idx(
        pointer(products), pointer(queries), pointer(vectors), pointer(rows), dim, batch, count
    )
    products[rows < 0] = -np.inf
    return products


def _float64_scores(vectors: FloatArray, queries: FloatArray, rows: IntArray) -> FloatArray:
    """As `_float32_scores`, rounded from float64."""
    wide, scores = queries.astype(np.float64)[:, None], np.empty(rows.shape, np.float32)
    size = max(1, _RESCORE_ROWS // max(len(rows), 1))
    for start in range(0, rows.shape[1], size):
        part = slice(start, start + size)
        scores[:, part] = np.vecdot(vectors[rows[:, part]].astype(np.float64), wide)
    scores[rows < 0] = -np.inf
    return scores


def padded(found: list[Found], k: int) -> Found:
    """Results of each query (K_i,) → (B, K) of both; K is the longest, at most k."""
    width = min(k, max((len(rows) for _, rows in found), default=0))
    scores = np.full((len(found), width), -np.inf, np.float32)
    places = np.full((len(found), width), NO_ROW, np.int64)
    for i, (score, rows) in enumerate(found):
        scores[i, : len(rows)], places[i, : len(rows)] = score, rows
    return scores, places
