"""How many rows in the inverted lists that a search didn't look into may be better than what it found.

A row's product with a query is that of its list's centroid and that of what the row differs by; the latter is taken for
normal, as wide as over a sample of all rows. What comes out is too much for lists of near rows, and so no figure to go
by: it is compared with what calibration found to be good enough (`doubts.Usual`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import faiss
import numpy as np

from clip_core.wire import FloatArray
from index_service.engines.base import BoolArray, IntArray
from index_service.engines.exact.exact import dot_products
from index_service.engines.scaling import scaled

_faiss: Any = faiss  # its stubs lack half of what is used here
_SAMPLE = 512
_MOST_LISTS = 1 << 16  # more centroids take longer than the lists


class NothingUnseen:
    """Of an index that looks at every row."""

    def above(self, queries: FloatArray, floors: FloatArray, effort: int, mask: BoolArray | None) -> FloatArray:
        """See `Unseen.above`."""
        del floors, effort, mask
        return np.zeros(len(queries), np.float32)

    def half(self) -> None:
        """See `Unseen.half`."""


@dataclass(frozen=True)
class UnseenLists:
    """`index` has inverted lists around `centroids` (L, D), which are the `owner`'s memory.

    `differences` (S, D) are of some rows from their centroids.
    """

    index: Any
    owner: Any
    centroids: FloatArray
    differences: FloatArray

    def over(self, index: Any) -> UnseenLists:
        """For another index with the same centroids."""
        return replace(self, index=index)

    def above(self, queries: FloatArray, floors: FloatArray, effort: int, mask: BoolArray | None) -> FloatArray:
        """See `Unseen.above`."""
        asked = _transformed(self.index, queries)
        near = dot_products(asked, self.centroids).T
        spread = dot_products(asked, self.differences).std(axis=0)[:, None]
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            expected = _normal_tail((floors[:, None] - near) / spread) * self._counts(mask)
        if effort < len(self.centroids):
            seen = np.argpartition(-near, effort - 1, axis=1)[:, :effort]
            np.put_along_axis(expected, seen, 0, axis=1)
        else:
            expected[:] = 0
        total: FloatArray = np.nan_to_num(expected.sum(axis=1, dtype=np.float32))
        return total

    def half(self) -> BoolArray:
        """See `Unseen.half`: every other list."""
        rows, ends = self._listed
        mask = np.zeros(len(rows), np.bool_)
        mask[rows] = np.repeat(np.arange(len(ends)) % 2 == 0, np.diff(ends, prepend=0))
        return mask

    def _counts(self, mask: BoolArray | None) -> IntArray:
        """(L,): the rows in each list, of those that the mask (N,) allows."""
        rows, ends = self._listed
        counted = ends if mask is None else np.concatenate(([0], np.cumsum(mask[rows])))[ends]
        counts: IntArray = np.diff(counted, prepend=0)
        return counts

    @cached_property
    def _listed(self) -> tuple[IntArray, IntArray]:
        """All rows (N,) list by list, and where each list ends (L,)."""
        lists = _faiss.extract_index_ivf(self.index).invlists
        sizes = [lists.list_size(i) for i in range(lists.nlist)]
        parts = [_faiss.rev_swig_ptr(lists.get_ids(i), size) for i, size in enumerate(sizes) if size]
        return np.concatenate([np.empty(0, np.int32), *parts], dtype=np.int32, casting="unsafe"), np.cumsum(sizes)


def unseen_lists(index: Any, vectors: FloatArray, scale: float) -> UnseenLists | None:
    """Of `index`, which holds `vectors` (N, D) times `scale`; None where centroids can't be read or are too many."""
    ivf = _faiss.extract_index_ivf(index)
    quantizer = _faiss.downcast_index(ivf.quantizer)
    flat = _faiss.downcast_index(quantizer.storage) if hasattr(quantizer, "storage") else quantizer
    if not isinstance(flat, _faiss.IndexFlat) or flat.ntotal != ivf.nlist or ivf.nlist > _MOST_LISTS:
        return None
    centroids = _faiss.rev_swig_ptr(flat.get_xb(), flat.ntotal * flat.d).reshape(flat.ntotal, flat.d)
    some = np.ascontiguousarray(vectors[:: max(len(vectors) // _SAMPLE, 1)])
    rows = _transformed(index, scaled(some, scale))
    return UnseenLists(index, quantizer, centroids, rows - centroids[quantizer.search(rows, 1)[1][:, 0]])


def _transformed(index: Any, vectors: FloatArray) -> FloatArray:
    """As the lists have them: OPQ and PCA stand before them."""
    vectors = np.ascontiguousarray(vectors)
    if isinstance(index, _faiss.IndexPreTransform):
        for place in range(index.chain.size()):
            vectors = _faiss.downcast_VectorTransform(index.chain.at(place)).apply(vectors)
    return vectors


def _normal_tail(z: FloatArray) -> FloatArray:
    """A bound on the share of a normal distribution above `z` (Chernoff's, halved), and nearly 1 far below."""
    half = np.exp(-np.square(z) / 2) / 2
    tail: FloatArray = np.where(z > 0, half, 1 - half)
    return tail
