"""Exact search: float32 dot products find candidates, float64 dot products decide among them.

The result equals brute force in float64, provably: a row whose float32 score lies so far below the k-th best that what
both may be off (see `bounds`) doesn't make up for it can't be among the k best; all others are rescored.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import faiss
import numpy as np

from clip_core.wire import FloatArray
from index_service.engines.base import NO_ROW, BoolArray, ExactnessCertificate, Found, IntArray, Metric
from index_service.engines.bounds import longest_of, slacks
from index_service.engines.top_k import Pools

_faiss: Any = faiss  # its stubs lack what is used here
_FEW_QUERIES = 4
_FEW_ROWS, _FEW_SCORES = 1 << 12, 1 << 17  # scored all at once
_BLOCK_SCORES = 1 << 19  # scores held at a time: 2 MB, which stay in the cache until they are compared
_BLOCK_ROWS = (1 << 10, 1 << 16)  # least and most rows of a block; the first one is small and sets the floors
_SPARSE = 0.5  # under this share of allowed rows, scoring only those beats scoring all
_RESCORE_ROWS = 1 << 12
_PART_ROWS = 1 << 10  # of a thread at least
_SPARE = 6  # candidates beside the wanted k, for what float32 can't tell apart


class ExactSegment:
    """Rows scanned one by one. `vectors` (N, D) float32, no longer than `longest`; kept, not copied."""

    engine = "exact"

    def __init__(self, vectors: FloatArray, longest: float | None = None) -> None:
        self.vectors, self.longest = vectors, longest

    def search(self, queries: FloatArray, k: int, mask: BoolArray | None) -> Found:
        """See `Segment.search`."""
        return search_exact(self.vectors, queries, k, mask, self.longest)

    def certify(self, queries: FloatArray, k: int, mask: BoolArray | None) -> tuple[Found, list[ExactnessCertificate]]:
        """As `search`, with a certificate for each of `queries`: every allowed row was scored."""
        allowed = len(self.vectors) if mask is None else int(np.count_nonzero(mask))
        return self.search(queries, k, mask), [ExactnessCertificate(0, allowed)] * len(queries)

    def cost(self, batch: int) -> int:
        """See `Segment.cost`."""
        return batch * self.vectors.size


class ExactBackend:
    """Keeps the vectors as they are."""

    engine = "exact"

    def __init__(self, metric: Metric = "cosine") -> None:
        self.metric = metric

    def build(self, vectors: FloatArray, cancelled: Callable[[], bool] = lambda: False) -> ExactSegment:
        """See `Backend.build`; there is nothing to wait for, so nothing to cancel."""
        del cancelled
        return ExactSegment(vectors, longest_of(vectors, self.metric))


def search_exact(
    vectors: FloatArray, queries: FloatArray, k: int, mask: BoolArray | None, longest: float | None = None
) -> Found:
    """Brute force over `vectors` (N, D) for `queries` (B, D); the contract is `Segment.search`.

    `longest` is a bound on the rows' norms, None where rows and queries are of unit norm.
    """
    queries = np.ascontiguousarray(queries)
    dense = mask is None or np.count_nonzero(mask) >= _SPARSE * len(vectors)
    if dense and len(vectors) <= _FEW_ROWS and len(vectors) * len(queries) <= _FEW_SCORES:
        return _search_few(vectors, queries, k, mask, longest)
    pools = Pools(k, slacks(queries, longest))
    if mask is None or dense:
        for start, end in _spans(len(vectors), len(queries)):
            allowed = None if mask is None else mask[start:end]
            pools.add(np.arange(start, end), dot_products(queries, vectors[start:end]), allowed)
    else:
        rows = np.flatnonzero(mask)
        for start, end in _spans(len(rows), len(queries)):
            pools.add(rows[start:end], _scores_of(queries, vectors, rows[start:end]))
    best = [rescore(vectors, query, rows, k) for query, rows in zip(queries, pools.rows(), strict=True)]
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
    vectors: FloatArray, queries: FloatArray, rows: IntArray, k: int, longest: float | None = None
) -> Found:
    """`rescore` for each of `queries` (B, D) among its candidates `rows` (B, C), where -1 stands for none.

    float32 products, read where the vectors lie, leave some k candidates for float64, as in `search_exact`.
    """
    if len(queries) == 1 and rows.shape[1] > k + _SPARE and rows.min() >= 0:  # FAISS has one thread for few queries
        products, first = _nearest(vectors, queries, rows, k + _SPARE)
        near = products >= (products[:, k - 1] - slacks(queries, longest))[:, None]
        if not near[0, -1]:  # else there may be more of them
            return _decided(vectors, queries, first[near][None], k)
    return _best(vectors, queries, rows, _products(vectors, queries, rows), k, longest)


def _search_few(
    vectors: FloatArray, queries: FloatArray, k: int, mask: BoolArray | None, longest: float | None
) -> Found:
    """`search_exact` of so few rows that all of their scores are held at once."""
    products = np.ascontiguousarray(dot_products(queries, vectors).T)
    if mask is not None:
        products[:, ~mask] = -np.inf
    rows = np.broadcast_to(np.arange(len(vectors)), products.shape)
    return _best(vectors, queries, rows, products, k, longest)


def _best(
    vectors: FloatArray, queries: FloatArray, rows: IntArray, products: FloatArray, k: int, longest: float | None
) -> Found:
    """The best k of each query's `rows` (B, C) by float64, given all float32 `products` (B, C), -inf for none."""
    kth = products.shape[1] - k
    floors = np.partition(products, kth, axis=1)[:, kth] if kth >= 0 else np.full(len(products), -np.inf)
    near = (products >= (floors - slacks(queries, longest))[:, None]) & (products > -np.inf)
    asked, places = np.nonzero(near)
    counts = np.count_nonzero(near, axis=1)
    best = np.full((len(rows), int(counts.max(initial=0))), NO_ROW, np.int64)
    best[asked, np.arange(len(asked)) - np.repeat(np.cumsum(counts) - counts, counts)] = rows[asked, places]
    return _decided(vectors, queries, best, k)


def _decided(vectors: FloatArray, queries: FloatArray, rows: IntArray, k: int) -> Found:
    """The best k of each query's `rows` (B, C) by float64; -1 for none."""
    scores = _scores_in_full(vectors, queries, rows)
    order = np.lexsort((rows, -scores), axis=1)[:, :k]  # ties in the order of rows
    each = np.arange(len(rows))[:, None]
    return scores[each, order], rows[each, order]


def _nearest(vectors: FloatArray, queries: FloatArray, rows: IntArray, count: int) -> Found:
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


def _products(vectors: FloatArray, queries: FloatArray, rows: IntArray) -> FloatArray:
    """(B, C): each of `queries` with its own `rows` (B, C); -inf for none."""
    queries, rows = np.ascontiguousarray(queries), np.ascontiguousarray(rows, np.int64)
    products = np.empty(rows.shape, np.float32)
    pointer, (batch, count), dim = _faiss.swig_ptr, rows.shape, vectors.shape[1]
    _faiss.fvec_inner_products_by_idx(
        pointer(products), pointer(queries), pointer(vectors), pointer(rows), dim, batch, count
    )
    products[rows < 0] = -np.inf
    return products


def _scores_in_full(vectors: FloatArray, queries: FloatArray, rows: IntArray) -> FloatArray:
    """As `_products`, rounded from float64."""
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
