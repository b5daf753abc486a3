"""Norms near 1 for engines that count on them, where rows and queries may have any.

FAISS's inverted lists have centroids of unit norm whose residuals are coded, RaBitQ and ScaNN compare norms with
constants: rows of norm 10⁻⁶ are coded as all the same (recall@10 0.2 instead of 0.99). One factor for all rows, and any
for a query, changes no order of inner products, and candidates are scored from the rows as they are.
"""

from __future__ import annotations

import math

import numpy as np

from clip_core.wire import FloatArray
from index_service.engines.bounds import norms

_SAMPLE = 10_000
_MOST = 1e18  # of a scaled row's norm: products and squares stay within float32


def scale_of(vectors: FloatArray, max_norm: float | None) -> float:
    """The power of two that brings the median norm of `vectors` (N, D) near 1; 1 for cosines."""
    if max_norm is None:
        return 1.0
    lengths = norms(vectors[:: len(vectors) // _SAMPLE + 1])
    lengths = lengths[lengths > 0]
    if not len(lengths):
        return 1.0
    return float(2.0 ** math.floor(math.log2(min(1 / float(np.median(lengths)), _MOST / max_norm))))


def scaled(vectors: FloatArray, scale: float) -> FloatArray:
    """`vectors` times `scale`; themselves where that is 1."""
    if scale == 1:
        return vectors
    times: FloatArray = (vectors.astype(np.float64) * scale).astype(np.float32)
    return times


def normalised(queries: FloatArray) -> FloatArray:
    """(B, D) → the same directions, with norm 1 where they have one."""
    lengths = norms(queries)[:, None]
    level: FloatArray = (queries / np.where(lengths > 0, lengths, 1)).astype(np.float32)
    return level
