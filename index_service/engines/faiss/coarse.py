"""Which inverted lists a query is to look into: 4-bit codes of the centroids draft, float32 decides among the best.

FAISS compares a query with every centroid in float32. Over a few lists of half a million rows that takes longer than
the lists themselves: 4 MB of centroids are read for each query, 256 kB of codes here. What is missed are lists that
hardly any differ from; calibration, which measures the recall of the whole search, sees it.
"""

from __future__ import annotations

from typing import Any

import faiss
import numpy as np

from clip_core.wire import FloatArray
from index_service.engines.base import IntArray

_faiss: Any = faiss  # its stubs lack half of what is used here
_LEAST_LISTS = 512  # of fewer the centroids are read soon enough
_BITS = 4
_ROUNDS = 4  # of k-means: 0.24 s for 512 dimensions, and 25 rounds draft hardly better
_DRAFTED = 6  # times the lists that are wanted
_LEAST_DRAFTED = 48
_MOST_SHARE = 16  # beyond this part of the lists, drafting saves nothing


class CoarseCodes:
    """The centroids of `ivf`, which is kept and may be added to."""

    def __init__(self, ivf: Any, centroids: Any) -> None:
        self._ivf = ivf
        dim, count = int(centroids.d), int(centroids.ntotal)
        vectors = _faiss.rev_swig_ptr(centroids.get_xb(), count * dim).reshape(count, dim)
        self._codes = _faiss.IndexPQFastScan(dim, dim // 2, _BITS, _faiss.METRIC_INNER_PRODUCT)
        clustering = self._codes.pq.cp
        clustering.niter, clustering.min_points_per_centroid = _ROUNDS, 1
        self._codes.train(vectors)
        self._codes.add(vectors)
        self._index = _faiss.IndexRefine(self._codes, centroids)
        self._most = count // _MOST_SHARE

    def takes(self, lists: int) -> bool:
        """Whether it is faster than FAISS's own comparison with all centroids."""
        return lists <= self._most

    def search(self, index: Any, queries: FloatArray, count: int, lists: int, parameters: Any) -> IntArray:
        """(B, count) rows of `index`, which has the same centroids, from the nearest `lists`; `parameters` say so too.

        `queries` are (B, D) float32, C-contiguous.
        """
        drafted = max(_DRAFTED * lists, _LEAST_DRAFTED)
        products, places = self._index.search(
            queries, lists, params=_faiss.IndexRefineSearchParameters(k_factor=drafted / lists)
        )
        shape, pointer = (len(queries), count), _faiss.swig_ptr
        scores, rows = np.empty(shape, np.float32), np.empty(shape, np.int64)
        index.search_preassigned_c(
            len(queries),
            pointer(queries),
            count,
            pointer(places),
            pointer(products),
            pointer(scores),
            pointer(rows),
            False,
            parameters,
        )
        return rows


def coarse_codes(index: Any) -> CoarseCodes | None:
    """For an index of many inverted lists whose centroids are float32; None for any other."""
    if not isinstance(index, _faiss.IndexIVF) or index.nlist < _LEAST_LISTS or index.d % 2:
        return None
    if index.metric_type != _faiss.METRIC_INNER_PRODUCT:
        return None
    centroids = _faiss.downcast_index(index.quantizer)
    if not isinstance(centroids, _faiss.IndexFlat) or centroids.ntotal != index.nlist:
        return None
    return CoarseCodes(index, centroids)
