"""A draft of all scores from int8 codes, with a bound on how far each may be off.

Row x is coded as x̂ = m + w∘c: m (D,) is the mean of the rows, w (D,) a step per dimension, c int8. A query q becomes
p = q∘w, coded as t·b with b int8. Then, for the error e = x - x̂ that is stored as its norm ‖e‖,

    q·x = q·m + t(b·c) + (p - t·b)·c + q·e,   so   |q·x - q·m - t(b·c)| ≤ ‖p - t·b‖‖c‖ + ‖q‖‖e‖  (Cauchy-Schwarz).

b·c is a sum of integers: exact in an integer kernel, and off by at most D·2⁻²⁴‖b‖‖c‖ in a float32 one (Higham, Accuracy
and Stability of Numerical Algorithms, §3.1). All else is computed in float64; `_FLOAT64` covers its rounding. That
and the rounding of scores grow with ‖q‖ and with the longest row, and both are 1 for cosines.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import faiss
import numpy as np
from numpy.typing import NDArray

from clip_core.wire import FloatArray
from index_service.engines.base import BuildCancelled, IntArray
from index_service.engines.huge_pages import collapse_index

_faiss: Any = faiss  # its stubs lack what is used here
Float64Array = NDArray[np.float64]
_MULTIPLE = 64  # dimensions are padded to a multiple of this: FAISS's integer kernel takes no others
_ROWS = 1 << 14
_FIGURES = 3 * 8  # bytes at the end of a file
_FLOAT64 = 1e-11  # for sums of up to 8192 products of unit vectors
_SMALL = 1e-300  # what a step is at least: a dimension may not vary, and a query may be 0
_ROUNDED = 2.0**-23  # twice what rounding a score of at most 1 + 10⁻⁶ to float32 changes
_UNDERFLOW = 2.0**-125  # and twice what it changes where a score is too small for float32
_OUTLYING = 1.25  # rows whose error is this many times the median ...
_OUTLIERS = 1 / 1024  # ... but no larger share than this, are outliers


class Shortlist(NamedTuple):
    """The K best rows by draft score for one query, with what is certain about their float32-rounded scores.

    `rows`, `lower` and `upper` are (K,); every row that is neither among them nor an outlier is below `rest_bound`.
    """

    rows: IntArray
    lower: Float64Array
    upper: Float64Array
    rest_bound: float


@dataclass(frozen=True)
class Int8Codes:
    """`index` holds c (N, D padded); `errors` (N,) are upper bounds on ‖e‖, `code_norm` one on every ‖c‖.

    `max_norm` is one on every row's norm, None where rows and queries are of unit norm.
    `outliers` are rows (ascending) whose error is over `error`, the bound for all the others.
    """

    index: Any
    centre: Float64Array
    steps: Float64Array
    errors: FloatArray
    error: float
    code_norm: float
    outliers: IntArray
    max_norm: float | None = None

    def draft(self, queries: FloatArray, k: int) -> list[Shortlist]:
        """For each of `queries` (B, D) the best `k` ≤ N rows."""
        wide = queries.astype(np.float64)
        scaled = wide * self.steps
        unit = np.maximum(np.abs(scaled).max(axis=1, keepdims=True) / 127, _SMALL)
        codes = np.rint(scaled / unit)
        padded = np.zeros((len(queries), self.index.d), np.float32)
        padded[:, : codes.shape[1]] = codes
        products, rows = self.index.search(padded, k)
        scores = (wide @ self.centre)[:, None] + unit * products
        norms = np.linalg.norm(wide, axis=1)
        tolerance = self._slack(scaled - unit * codes, unit[:, 0] * np.linalg.norm(codes, axis=1), norms)
        return [self._bounded(*row) for row in zip(rows, scores, tolerance, norms, strict=True)]

    def _slack(self, missed: Float64Array, coded: Float64Array, norms: Float64Array) -> Float64Array:
        """(B,): what a draft score may be off beside q·e, with the rounding of the score it is compared with."""
        kernel = (self.index.d + 2) * 2.0**-24 * coded
        rounding: Float64Array | float = _FLOAT64 + _ROUNDED
        if self.max_norm is not None:
            rounding = rounding * norms * self.max_norm + _UNDERFLOW
        tolerance: Float64Array = (np.linalg.norm(missed, axis=1) + kernel) * self.code_norm + rounding
        return tolerance

    def _bounded(self, rows: IntArray, scores: Float64Array, tolerance: float, norm: float) -> Shortlist:
        off = norm * self.errors[rows] + tolerance
        rest_bound = float(scores[-1]) + float(norm) * self.error + float(tolerance)
        return Shortlist(rows, scores - off, scores + off, rest_bound)

    def save(self, path: Path) -> None:
        """The index by FAISS's own format, then everything else as an archive of numpy's."""
        _faiss.write_index(self.index, str(path))
        with path.open("ab") as file:
            start = file.tell()
            arrays = io.BytesIO()  # an archive in a file of its own, as far as its offsets go
            np.savez(arrays, centre=self.centre, steps=self.steps, errors=self.errors, outliers=self.outliers)
            file.write(arrays.getvalue())
            figures = np.asarray([self.error, self.code_norm, start], np.float64)
            file.write(figures.tobytes())


def load(path: Path, max_norm: float | None = None) -> Int8Codes:
    """The codes saved at `path` of rows no longer than `max_norm`; the file is known to be whole."""
    index = _faiss.read_index(str(path))
    collapse_index(index)
    with path.open("rb") as file:
        file.seek(-_FIGURES, os.SEEK_END)
        end = file.tell()
        error, code_norm, start = np.frombuffer(file.read(_FIGURES))
        file.seek(int(start))
        with np.load(io.BytesIO(file.read(end - int(start)))) as kept:
            centre, steps, errors, outliers = (kept[name] for name in ("centre", "steps", "errors", "outliers"))
            return Int8Codes(index, centre, steps, errors, float(error), float(code_norm), outliers, max_norm)


def encode(vectors: FloatArray, cancelled: Callable[[], bool], max_norm: float | None = None) -> Int8Codes:
    """(N, D) float32, N ≥ 1 → its codes; reads the vectors twice, a block at a time. Raises BuildCancelled.

    `max_norm` is a bound on the rows' norms, None where rows and queries are of unit norm.
    """
    centre, steps = _frame(vectors, cancelled)
    dim = vectors.shape[1]
    index = _faiss.IndexScalarQuantizer(
        -(-dim // _MULTIPLE) * _MULTIPLE, _faiss.ScalarQuantizer.QT_8bit_direct_signed, _faiss.METRIC_INNER_PRODUCT
    )
    errors, code_norm = np.empty(len(vectors), np.float32), 0.0
    rounding = _FLOAT64 * (1.0 if max_norm is None else max_norm)
    for start, block in _blocks(vectors, cancelled):
        away = block.astype(np.float64) - centre
        codes = np.clip(np.rint(away / steps), -127, 127)
        missed = np.linalg.norm(away - codes * steps, axis=1) * (1 + 1e-9) + rounding
        errors[start : start + len(block)] = np.nextafter(missed.astype(np.float32), np.float32(np.inf))
        code_norm = max(code_norm, float(np.linalg.norm(codes, axis=1).max()))
        padded = np.zeros((len(block), index.d), np.float32)
        padded[:, :dim] = codes
        index.add(padded)
    collapse_index(index)
    outliers = _outliers(errors)
    regular = np.delete(errors, outliers)
    return Int8Codes(index, centre, steps, errors, float(regular.max()), code_norm * (1 + 1e-9), outliers, max_norm)


def _blocks(vectors: FloatArray, cancelled: Callable[[], bool]) -> Iterator[tuple[int, FloatArray]]:
    for start in range(0, len(vectors), _ROWS):
        if cancelled():
            raise BuildCancelled
        yield start, vectors[start : start + _ROWS]


def _frame(vectors: FloatArray, cancelled: Callable[[], bool]) -> tuple[Float64Array, Float64Array]:
    """Centre and steps, both (D,): the largest deviation of a dimension gets the code 127."""
    total = np.zeros(vectors.shape[1])
    low, high = np.full_like(total, np.inf), np.full_like(total, -np.inf)
    for _, block in _blocks(vectors, cancelled):
        total += block.sum(axis=0, dtype=np.float64)
        low, high = np.minimum(low, block.min(axis=0)), np.maximum(high, block.max(axis=0))
    centre = total / len(vectors)
    return centre, np.maximum(np.maximum(high - centre, centre - low) / 127, _SMALL)


def _outliers(errors: FloatArray) -> IntArray:
    """Rows whose bound is so loose that verifying them always costs less than loosening everyone's."""
    most = int(len(errors) * _OUTLIERS)
    if not most:
        return np.empty(0, np.int64)
    least = max(np.partition(errors, -most - 1)[-most - 1], np.float32(_OUTLYING) * np.median(errors))
    return np.flatnonzero(errors > least)
