"""The vectors of an upsert, all at once: the norms in one pass of numpy, where each is as it should be."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pybase64

from clip_core.errors import BadVector
from clip_core.wire import FloatArray, unit

_UNIT = 1e-6  # a norm this near to 1 is left alone, so that vectors come back bit for bit


def as_unit(vector: FloatArray) -> FloatArray:
    """(D,) → norm 1; one that has it already is returned as it is. Raises BadVector for the zero vector."""
    wide = vector.astype(np.float64)
    return vector if abs(float(wide @ wide) - 1) <= _UNIT else unit(vector)


def decode_units(values: Sequence[object], dim: int) -> FloatArray | None:
    """Base64 texts of `dim` float32 each → (N, D), unit norm; None when any isn't: then look at each by itself."""
    vectors = _decode(values, dim)
    if vectors is None:
        return None
    with np.errstate(invalid="ignore"):  # a signalling NaN
        wide = vectors.astype(np.float64)
    off = np.flatnonzero(~(np.abs(np.vecdot(wide, wide) - 1) <= _UNIT))  # NaN too
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
        rows = [pybase64.b64decode(value, validate=True) for value in values if isinstance(value, str)]
    except ValueError:
        return None
    if not rows or len(rows) != len(values) or any(len(row) != 4 * dim for row in rows):
        return None
    return np.frombuffer(b"".join(rows), "<f4").astype(np.float32).reshape(-1, dim)
