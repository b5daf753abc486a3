"""The expected number of better rows in the inverted lists that a search did not probe.

A row's product with a query is the product of its list's centroid plus that of the row's difference from the centroid.
The differences are taken as normally distributed, with the deviation of a sample of all rows. The estimate is too large
for lists of near rows. So it is only compared with `RetryThresholds`, which calibration measures in the same way.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import faiss
import numpy as np

from clip_core.wire import FloatArray
from index_service.engines.base import BoolArray, IntArray
from index_service.engines.exact.scan import dot_products
from index_service.engines.scaling import scaled

_faiss: Any = faiss  # its stubs lack half of what is used here
_SAMPLE = 512
_MOST_LISTS = 1 << 16  # more centroids take longer than the lists


class AllRowsProbed:
    """For an index that scans every row: nothing is unprobed."""

    def expected_above(
        self, queries: FloatArray, min_scores: FloatArray, effort: int, mask: BoolArray | None
    ) -> FloatArray:
        """See `UnprobedRows.expected_above`."""
        del min_scores, effort, mask
        return np.zeros(len(queries), np.float32)

    def half_mask(self) -> None:
        """See `UnprobedRows.half_mask`."""


@dataclass(frozen=True)
class UnprobedLists:
    """The lists of `index` around `centroids` (L, D), whose memory belongs to `owner`.

    `differences` (S, D) are those of a sample of rows from their centroids.
    """

    index: Any
    owner: Any
    centroids: FloatArray
    differences: FloatArray

    def over(self, index: Any) -> UnprobedLists:
        """The same for another index with these centroids."""
        return replace(self, index=index)

    def expected_above(
        self, queries: FloatArray, min_scores: FloatArray, effort: int, mask: BoolArray | None
    ) -> FloatArray:
        """See `UnprobedRows.expected_above`."""
        transformed = _transformed(self.index, queries)
        near = dot_products(transformed, self.centroids).T
        spread = dot_products(transformed, self.differences).std(axis=0)[:, None]
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            expected = _normal_tail((min_scores[:, None] - near) / spread) * self._counts(mask)
        if effort < len(self.centroids):
            probed = np.argpartition(-near, effort - 1, axis=1)[:, :effort]
            np.put_along_axis(expected, probed, 0, axis=1)
        else:
            expected[:] = 0
        total: FloatArray = np.nan_to_num(expected.sum(axis=1, dtype=np.float32))
        return total

    def half_mask(self) -> BoolArray:
        """See `UnprobedRows.half_mask`: every other list."""
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


def unprobed_lists_of(index: Any, vectors: FloatArray, scale: float) -> UnprobedLists | None:
    """For `index` of `vectors` (N, D) times `scale`; None where its centroids can't be read or are too many."""
    ivf = _faiss.extract_index_ivf(index)
    quantizer = _faiss.downcast_index(ivf.quantizer)
    flat = _faiss.downcast_index(quantizer.storage) if hasattr(quantizer, "storage") else quantizer
    if not isinstance(flat, _faiss.IndexFlat) or flat.ntotal != ivf.nlist or ivf.nlist > _MOST_LISTS:
        return None
    centroids = _faiss.rev_swig_ptr(flat.get_xb(), flat.ntotal * flat.d).reshape(flat.ntotal, flat.d)
    some = np.ascontiguousarray(vectors[:: max(len(vectors) // _SAMPLE, 1)])
    rows = _transformed(index, scaled(some, scale))
    return UnprobedLists(index, quantizer, centroids, rows - centroids[quantizer.search(rows, 1)[1][:, 0]])


def _transformed(index: Any, vectors: FloatArray) -> FloatArray:
    """`vectors` after the transforms before the lists, such as OPQ and PCA."""
    vectors = np.ascontiguousarray(vectors)
    if isinstance(index, _faiss.IndexPreTransform):
        for place in range(index.chain.size()):
            vectors = _faiss.downcast_VectorTransform(index.chain.at(place)).apply(vectors)
    return vectors


def _normal_tail(z: FloatArray) -> FloatArray:
    """A bound on the share of a normal distribution above `z` (Chernoff's, halved), and nearly 1 far below."""
    half_mask = np.exp(-np.square(z) / 2) / 2
    tail: FloatArray = np.where(z > 0, half_mask, 1 - half_mask)
    return tail
