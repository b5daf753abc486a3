"""How far float32 scores may be off, where rows and queries are of unit norm and where they are of any.

A float32 product of two vectors of D dimensions is off by at most D·2⁻²⁴·‖q‖‖v‖ (Higham, Accuracy and Stability of
Numerical Algorithms, §3.1), and by 2⁻¹²⁶·(2 + ‖q‖ + ‖v‖) for each dimension where numbers too small for float32
became 0. `max_norm` is a bound on the norm of every row. It is None, and never computed, where rows and queries are of
unit norm.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from clip_core.wire import FloatArray
from index_service.engines.base import Metric

_BLOCK_ROWS = 1 << 12
_ROUNDED = 1 + 1e-9  # covers what computing a norm in float64 loses
_UNDERFLOW = 2.0**-126


def max_norm_of(vectors: FloatArray, metric: Metric) -> float | None:
    """A bound on the norms of `vectors` (N, D), which are read once for it; None, unread, for cosines."""
    return raised_max_norm(None if metric == "cosine" else 0.0, vectors)


def raised_max_norm(max_norm: float | None, vectors: FloatArray) -> float | None:
    """The larger of `max_norm` and the norms of `vectors` (N, D); None stays None."""
    if max_norm is None:
        return None
    blocks = (vectors[start : start + _BLOCK_ROWS] for start in range(0, len(vectors), _BLOCK_ROWS))
    return max([max_norm, *(float(norms(block).max()) * _ROUNDED for block in blocks)])


def norms(vectors: FloatArray) -> NDArray[np.float64]:
    """The norms (N,) float64 of `vectors` (N, D)."""
    wide = vectors.astype(np.float64)
    lengths: NDArray[np.float64] = np.sqrt(np.vecdot(wide, wide))
    return lengths


def score_tolerances(queries: FloatArray, max_norm: float | None) -> FloatArray:
    """(B,) float32, for each of `queries` (B, D): when a row has a float32 score lower than another by more than this,
    its score is lower in float64 too, and still lower when both are rounded to float32.
    """
    dim = queries.shape[1]
    relative = 2 * (dim + 2) * 2.0**-24
    if max_norm is None:
        return np.full(len(queries), relative, np.float32)
    lengths = norms(queries) * _ROUNDED
    underflow = 2 * dim * _UNDERFLOW * (2 + lengths + max_norm)
    tolerance: FloatArray = (relative * lengths * max_norm + underflow).astype(np.float32)
    return tolerance
