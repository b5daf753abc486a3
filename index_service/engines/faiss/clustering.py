"""Where an index's inverted lists lie: regions first, then each region's own lists, then some rounds of them all.

FAISS's k-means begins with rows drawn at random. Clusters that got no row share a list with others from then on,
however many rounds follow, and a search has to look into more lists for the same recall. Lists that are shared out by
the sizes of regions leave hardly a cluster out, and take less time: a region's rows are compared with its lists alone.
"""

from __future__ import annotations

import math
from typing import Any

import faiss
import numpy as np

from clip_core.wire import FloatArray
from index_service.engines.base import IntArray

_faiss: Any = faiss  # its stubs lack half of what is used here
_LEAST_LISTS = 256  # fewer are found soon enough
_ROUNDS, _TOGETHER = 5, 6  # of k-means: for regions and inside each, and over all lists


def place_lists(index: Any, vectors: FloatArray) -> None:
    """Give the lists of an untrained `index` their centroids, found among `vectors` (N, D), of which N is at least the
    number of lists. An index without many lists, or with other than flat centroids, is left to FAISS.
    """
    if not isinstance(index, _faiss.IndexIVF) or index.nlist < _LEAST_LISTS:
        return
    if isinstance(_faiss.downcast_index(index.quantizer), _faiss.IndexFlat):
        index.quantizer.add(centroids(vectors, int(index.nlist), spherical=bool(index.cp.spherical)))


def centroids(vectors: FloatArray, count: int, *, spherical: bool) -> FloatArray:
    """(count, D) for `vectors` (N ≥ count, D) float32, C-contiguous; of unit norm if `spherical`."""
    regions = _kmeans(vectors, round(math.sqrt(count)), _ROUNDS, spherical)
    nearest = regions.assign(vectors)[1]
    shares = shared_out(count, np.bincount(nearest, minlength=regions.k))
    parts = [
        _kmeans(vectors[nearest == region], int(share), _ROUNDS, spherical).centroids
        for region, share in enumerate(shares)
        if share
    ]
    found: FloatArray = _kmeans(vectors, count, _TOGETHER, spherical, np.concatenate(parts)).centroids
    return found


def shared_out(count: int, sizes: IntArray) -> IntArray:
    """(R,): `count` ≤ the sum of `sizes` (R,), in proportion to them by largest remainders, none above its size."""
    exact = sizes * (count / sizes.sum())
    shares: IntArray = np.floor(exact).astype(np.int64)
    shares[np.argsort(shares - exact, kind="stable")[: count - shares.sum()]] += 1
    return shares


def _kmeans(vectors: FloatArray, count: int, rounds: int, spherical: bool, first: FloatArray | None = None) -> Any:
    found = _faiss.Kmeans(vectors.shape[1], count, niter=rounds, spherical=spherical, min_points_per_centroid=1)
    found.train(vectors, init_centroids=first)
    return found
