"""The vectors of an upsert, all at once: one pass of numpy instead of one a vector, where each is as it should be."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from clip_core.errors import BadVector
from clip_core.wire import FloatArray, unit

_UNIT = 1e-6  # a norm this near to 1 is left alone, so that vectors come back bit for bit
_ALPHABET = np.frombuffer(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/", np.uint8)
_BAD = 64
_CODES = np.full(256, _BAD, np.uint8)
_CODES[_ALPHABET] = np.arange(64, dtype=np.uint8)


def as_unit(vector: FloatArray) -> FloatArray:
    """(D,) → norm 1; one that has it already is returned as it is. Raises BadVector for the zero vector."""
    wide = vector.astype(np.float64)
    return vector if abs(float(wide @ wide) - 1) <= _UNIT else unit(vector)


def decode_units(values: Sequence[object], dim: int) -> FloatArray | None:
    """Base64 texts of `dim` float32 each → (N, D), unit norm; None when any isn't: then look at each by itself."""
    raw = _decode(values, 4 * dim)
    if raw is None:
        return None
    vectors: FloatArray = raw.view("<f4").astype(np.float32, copy=False)
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


def _decode(values: Sequence[object], size: int) -> NDArray[np.uint8] | None:
    """Base64 of `size` bytes each → (N, size); strict as RFC 4648: its own alphabet, padded, nothing else."""
    padding = -size % 3
    length = (size + padding) // 3 * 4
    texts = [value for value in values if isinstance(value, str) and len(value) == length and value.isascii()]
    if len(texts) != len(values) or not texts:
        return None
    characters = np.frombuffer("".join(texts).encode(), np.uint8).reshape(-1, length)
    codes, end = _CODES[characters], length - padding
    if (codes[:, :end] == _BAD).any() or (characters[:, end:] != ord("=")).any():
        return None
    codes[:, end:] = 0
    a, b, c, d = np.moveaxis(codes.reshape(len(texts), -1, 4), -1, 0)
    triples = np.stack((a << 2 | b >> 4, b << 4 | c >> 2, c << 6 | d), axis=-1)  # uint8: what is shifted out is gone
    return np.ascontiguousarray(triples.reshape(len(texts), -1)[:, :size])
