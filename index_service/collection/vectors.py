"""Vectors as callers give them → as a collection keeps them: of unit norm for cosines, untouched for inner products.

Those of an upsert are decoded all at once: their norms in one pass of numpy, where each is as it should be.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from clip_core.errors import BadVector
from clip_core.wire import FloatArray, decode_base64, unit
from index_service.engines.base import Metric

_UNIT = 1e-6  # a norm this near to 1 is left alone, so that vectors come back bit for bit
MOST_NORM = 1e18  # of a vector for inner products: any product of two, and any sum on the way, fits into float32


def as_unit(vector: FloatArray) -> FloatArray:
    """(D,) → norm 1; one that has it already is returned as it is. Raises BadVector for the zero vector."""
    wide = vector.astype(np.float64)
    return vector if abs(float(wide @ wide) - 1) <= _UNIT else unit(vector)


def as_kept(vector: FloatArray, metric: Metric) -> FloatArray:
    """(D,) → as a collection of this metric keeps it, and searches with it. Raises BadVector when it can't."""
    if metric == "cosine":
        return as_unit(vector)
    if not _squared(vector) <= MOST_NORM**2:
        raise BadVector(f"the vector's norm is over {MOST_NORM:g}, the most for inner products", param="vector")
    return vector


def decode_all(values: Sequence[object], dim: int, metric: Metric) -> FloatArray | None:
    """Base64 texts of `dim` float32 each → (N, D) `as_kept`; None when any isn't good: then look at each by itself."""
    vectors = _decode(values, dim)
    if vectors is None:
        return None
    if metric == "cosine":
        return _units(vectors)
    return vectors if (_squared(vectors) <= MOST_NORM**2).all() else None


def _squared(vectors: FloatArray) -> NDArray[np.float64]:
    """(…, D) → the squares of their norms, in float64."""
    with np.errstate(invalid="ignore"):  # a signalling NaN
        wide = vectors.astype(np.float64)
    squared: NDArray[np.float64] = np.vecdot(wide, wide)
    return squared


def _units(vectors: FloatArray) -> FloatArray | None:
    """(N, D) → of unit norm, those that aren't changed in place; None when one can't be."""
    off = np.flatnonzero(~(np.abs(_squared(vectors) - 1) <= _UNIT))  # NaN too
    if len(off):
        if not np.isfinite(vectors[off]).all():
            return None
        try:
            vectors[off] = unit(vectors[off])
        except BadVector:
            return None
    return vectors


def _decode(values: Sequence[object], dim: int) -> FloatArray | None:
    """Base64 of `dim` little-endian float32 each → (N, D)."""
    try:
        rows = [decode_base64(value) for value in values if isinstance(value, str)]
    except ValueError:
        return None
    if not rows or len(rows) != len(values) or any(len(row) != 4 * dim for row in rows):
        return None
    return np.frombuffer(b"".join(rows), "<f4").astype(np.float32).reshape(-1, dim)
