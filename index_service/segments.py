"""What a search sees of a collection: a main segment, a small exact delta and tombstones, frozen at one moment.

Rows are numbered in the order of insertion: first the main segment's, then the delta's. Rows are only ever added at
the end, and a `View` knows how many there were when it was made, so searches need no lock.

Invariant: nothing in here changes a row that some view can see.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from clip_core.wire import Exactness, FloatArray
from index_service.backends.base import BoolArray, Certificate, Found, IntArray, Segment
from index_service.backends.certified import exact_of
from index_service.backends.exact import ExactSegment
from index_service.masks import FilterMasks

# What else a search takes, in multiplications of about a tenth of a nanosecond each.
_COST_OF_FILTERED_ROW = 10_000
_COST_OF_HIT = 10_000


class GrowingMatrix:
    """Float32 rows that are appended in amortised constant time; earlier views of it stay as they were."""

    def __init__(self, dim: int, capacity: int = 256) -> None:
        self._rows = np.empty((capacity, dim), np.float32)
        self._count = 0

    def append(self, vectors: FloatArray) -> FloatArray:
        """Add (B, D); all rows so far, (N, D), as a view."""
        end = self._count + len(vectors)
        if end > len(self._rows):
            grown = np.empty((max(end, 2 * len(self._rows)), self._rows.shape[1]), np.float32)
            grown[: self._count] = self._rows[: self._count]
            self._rows = grown
        self._rows[self._count : end] = vectors
        self._count = end
        return self._rows[:end]


@dataclass(frozen=True)
class Rows:
    """The columns of a collection between two merges. `ids` and `metadata` (JSON text) grow with `delta`."""

    main: Segment
    delta: GrowingMatrix
    ids: list[str]
    metadata: list[bytes]
    masks: FilterMasks


@dataclass(frozen=True)
class View:
    """One moment of a collection. `delta` (N, D) and `alive` (rows,) are never written to after this is made."""

    rows: Rows
    delta: FloatArray
    alive: BoolArray
    live: int

    @property
    def count(self) -> int:
        """Rows, dead ones included."""
        return len(self.alive)

    @property
    def approximate(self) -> bool:
        """Whether a search may miss something."""
        return exact_of(self.rows.main) is not self.rows.main

    def search(self, queries: FloatArray, k: int, where: bytes | None, exact: Exactness) -> Found:
        """The best k live rows for each of `queries` (B, D) that the canonical filter `where` lets through."""
        allowed, main = self.allowed(where), self.rows.main
        size = self.count - len(self.delta)
        parts: list[Found] = []
        if size:
            segment = exact_of(main) if exact else main
            parts.append(segment.search(queries, k, None if allowed is None else allowed[:size]))
        if len(self.delta):
            scores, rows = ExactSegment(self.delta).search(queries, k, None if allowed is None else allowed[size:])
            parts.append((scores, np.where(rows >= 0, rows + size, rows)))
        return _merged(parts, len(queries), k)

    def certify(self, queries: FloatArray, k: int, where: bytes | None) -> tuple[Found, list[Certificate]]:
        """As an exact `search`, with a certificate for each of `queries` over all rows that `where` lets through."""
        allowed = self.allowed(where)
        size = self.count - len(self.delta)
        main, delta = (None, None) if allowed is None else (allowed[:size], allowed[size:])
        (scores, rows), first = exact_of(self.rows.main).certify(queries, k, main)
        late, second = ExactSegment(self.delta).certify(queries, k, delta)
        shifted = np.where(late[1] >= 0, late[1] + size, late[1])
        both = [Certificate(a[0] + b[0], a[1] + b[1]) for a, b in zip(first, second, strict=True)]
        return _merged([(scores, rows), (late[0], shifted)], len(queries), k), both

    def allowed(self, where: bytes | None) -> BoolArray | None:
        """(rows,): alive and let through by `where`; None when that is every row."""
        if where is not None:
            return self.alive & self.rows.masks.mask(where, self.count)
        return None if self.live == self.count else self.alive

    def vectors_of(self, places: IntArray) -> FloatArray:
        """(K, D) for row numbers (K,), ascending."""
        size = self.count - len(self.delta)
        split = int(np.searchsorted(places, size))
        if split == 0:
            return self.delta[places - size]
        return np.concatenate((self.rows.main.vectors[places[:split]], self.delta[places[split:] - size]))

    def vector(self, row: int) -> FloatArray:
        """(D,)."""
        size = self.count - len(self.delta)
        vector: FloatArray = self.rows.main.vectors[row] if row < size else self.delta[row - size]
        return vector

    def cost(self, batch: int, k: int, where: bytes | None, exact: Exactness) -> int:
        """Roughly how long a search takes at most, in multiplications; any engine may scan for a filter."""
        unknown = 0 if where is None else self.rows.masks.missing(where, self.count)
        main = self.rows.main
        scan = batch * (main.vectors.size + self.delta.size)
        if where is None and not exact:
            scan = main.cost(batch) + batch * self.delta.size
        return scan + unknown * _COST_OF_FILTERED_ROW + batch * min(k, self.live) * _COST_OF_HIT


def empty_view(dim: int) -> View:
    """A view of no rows."""
    return view_of(ExactSegment(np.empty((0, dim), np.float32)), [], [])


def view_of(main: Segment, ids: list[str], metadata: list[bytes]) -> View:
    """A view whose rows are those of `main`, all alive."""
    delta = GrowingMatrix(main.vectors.shape[1])
    rows = Rows(main, delta, ids, metadata, FilterMasks(metadata))
    return View(rows, delta.append(main.vectors[:0]), np.ones(len(ids), np.bool_), len(ids))


def _merged(parts: list[Found], batch: int, k: int) -> Found:
    """Results of the main segment and of the delta as one; a stable sort keeps ties in the order of rows."""
    if not parts:
        return np.empty((batch, 0), np.float32), np.empty((batch, 0), np.int64)
    if len(parts) == 1:
        return parts[0]
    scores = np.concatenate([part[0] for part in parts], axis=1)
    rows = np.concatenate([part[1] for part in parts], axis=1)
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(scores, order, axis=1), np.take_along_axis(rows, order, axis=1)
