"""How far float32 scores may be off, where rows and queries are of unit norm and where they are of any.

A float32 product of two vectors of D dimensions is off by at most D·2⁻²⁴·‖q‖‖v‖ (Higham, Accuracy and Stability of
Numerical Algorithms, §3.1), and by 2⁻¹²⁶·(2 + ‖q‖ + ‖v‖) for each dimension where figures too small for float32 were
taken for 0. Of rows that aren't of unit norm a bound on the longest is known: `longest`. It is None where rows and
queries are of unit norm, and nobody looks at them for it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from clip_core.wire import FloatArray
from index_service.engines.base import Metric

_BLOCK_ROWS = 1 << 12
_ROUNDED = 1 + 1e-9  # covers what computing a norm in float64 loses
_UNDERFLOW = 2.0**-126


def longest_of(vectors: FloatArray, metric: Metric) -> float | None:
    """A bound on the norms of `vectors` (N, D), which are read once for it; None, unread, for cosines."""
    return raised(None if metric == "cosine" else 0.0, vectors)


def raised(longest: float | None, vectors: FloatArray) -> float | None:
    """`longest` as it is with these rows (N, D) too."""
    if longest is None:
        return None
    blocks = (vectors[start : start + _BLOCK_ROWS] for start in range(0, len(vectors), _BLOCK_ROWS))
    return max([longest, *(float(norms(block).max()) * _ROUNDED for block in blocks)])


def norms(vectors: FloatArray) -> NDArray[np.float64]:
    """(N, D) → (N,)."""
    wide = vectors.astype(np.float64)
    lengths: NDArray[np.float64] = np.sqrt(np.vecdot(wide, wide))
    return lengths


def slacks(queries: FloatArray, longest: float | None) -> FloatArray:
    """(B,): a row whose float32 score for one of `queries` (B, D) is lower by more than this than another's is beaten
    by it in float64 too, and isn't its equal once both are rounded to float32.
    """
    dim = queries.shape[1]
    relative = 2 * (dim + 2) * 2.0**-24
    if longest is None:
        return np.full(len(queries), relative, np.float32)
    lengths = norms(queries) * _ROUNDED
    underflow = 2 * dim * _UNDERFLOW * (2 + lengths + longest)
    slack: FloatArray = (relative * lengths * longest + underflow).astype(np.float32)
    return slack
