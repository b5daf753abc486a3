"""A view: what a search sees of a collection, frozen at one moment.

A view has a main segment, a delta of newer rows, and tombstones for deleted rows. The first rows of the delta may be
sealed: they are in an index that uses the training of the main segment (see `sealing`). The others are scanned.

Rows are numbered in the order of insertion: the main segment's first, then the delta's. Rows are only ever added at the
end, and a `View` knows how many there were when it was made, so searches need no lock.

Invariant: nothing here changes a row that some view shows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from clip_core.tracing.spans import stage
from clip_core.wire import Exactness, FloatArray
from index_service.engines.approximate.segment import ApproximateSegment
from index_service.engines.base import BoolArray, ExactnessCertificate, Found, IntArray, Metric, Segment
from index_service.engines.bounds import raised_max_norm
from index_service.engines.exact.certified import exact_of
from index_service.engines.exact.segment import ExactBackend, ExactSegment
from index_service.metadata.columns import Blobs, Growing, RowBlock, Texts, empty_block, matched
from index_service.metadata.masks import FilterMasks
from index_service.metadata.materialised_filters import MaterialisedFilters
from index_service.record.records import PatchedRow, StoredItem

_FEW_ROWS = 8192  # that a filter leaves of the delta: a scan of them is faster than the sealed index


@dataclass(frozen=True)
class Rows:
    """The columns of a collection between two merges: all but `main` grow.

    `delta` (D,) float32 and `seqs` int64, the rows' ascending numbers in the record; `metadata` JSON text.
    """

    main: Segment
    delta: Growing
    seqs: Growing
    ids: Texts
    metadata: Blobs
    masks: FilterMasks
    materialised: MaterialisedFilters


@dataclass(frozen=True)
class View:
    """One moment of a collection. `delta` (N, D), `seqs` and `alive` (rows,) are never written to after it is made.

    `max_norm` is a bound on the norms of the delta's rows, None for cosines; `sealed` is the index of its first rows.
    """

    rows: Rows
    delta: FloatArray
    seqs: IntArray
    alive: BoolArray
    live: int
    max_norm: float | None = None
    sealed: ApproximateSegment | None = None

    def __post_init__(self) -> None:
        """Raises RuntimeError unless each row has one vector, one sequence number and one place among the living."""
        if not len(self.rows.main.vectors) + len(self.delta) == len(self.seqs) == len(self.alive):
            raise RuntimeError("the columns of a view are of different lengths")

    @property
    def count(self) -> int:
        """Rows, dead ones included."""
        return len(self.alive)

    @property
    def last_seq(self) -> int:
        """The sequence number of the newest row; 0 where there is none."""
        return int(self.seqs[-1]) if self.count else 0

    @property
    def engine(self) -> str:
        """Of the main segment."""
        return self.rows.main.engine

    @property
    def approximate(self) -> bool:
        """Whether a search may miss something."""
        return exact_of(self.rows.main) is not self.rows.main

    def search(self, queries: FloatArray, k: int, where: bytes | None, exact: Exactness) -> Found:
        """The best k live rows for each of `queries` (B, D) that the canonical filter `where` lets through."""
        allowed = self.allowed(where)
        sealed = None if exact else self._worthy(allowed)
        with stage("main segment"):
            parts = self._main(queries, k, where, allowed, exact)
        scores, rows = self._found(queries, k, allowed, parts, sealed)
        if sealed is None or self._enough(rows, k, allowed):
            return scores, rows
        return self._found(queries, k, allowed, parts, None)

    def _enough(self, rows: IntArray, k: int, allowed: BoolArray | None) -> bool:
        """Whether each query has k `rows` (B, K), or all that there are: a sealed index finds what its lists hold."""
        least = int(np.count_nonzero(rows >= 0, axis=1).min(initial=k))
        return least >= k or least >= (self.live if allowed is None else int(np.count_nonzero(allowed)))

    def _found(
        self,
        queries: FloatArray,
        k: int,
        allowed: BoolArray | None,
        parts: list[Found],
        sealed: ApproximateSegment | None,
    ) -> Found:
        """`parts` is what the main segment has found."""
        parts = [*parts]
        for start, later in self._later(sealed):
            own = None if allowed is None else allowed[start : start + len(later.vectors)]
            with stage("delta"):
                if isinstance(later, ApproximateSegment):
                    scores, rows = later.search(queries, k, own, _min_scores(parts, k))
                else:
                    scores, rows = later.search(queries, k, own)
            parts.append((scores, np.where(rows >= 0, rows + start, rows)))
        return _merged(parts, len(queries), k)

    def _main(
        self, queries: FloatArray, k: int, where: bytes | None, allowed: BoolArray | None, exact: Exactness
    ) -> list[Found]:
        """What the main segment finds, if there is one."""
        main, size = self.rows.main, self.count - len(self.delta)
        if not size:
            return []
        if where is not None and not exact and self.approximate:
            kept = self.rows.materialised.of(where, main.vectors, self.rows.masks.mask(where, size))
            if kept is not None:
                return [kept.search(queries, k, None if self.live == self.count else self.alive[:size])]
        return [(exact_of(main) if exact else main).search(queries, k, None if allowed is None else allowed[:size])]

    def _worthy(self, allowed: BoolArray | None) -> ApproximateSegment | None:
        """The sealed index where it is worth a search; where a filter leaves few rows, one scan is faster."""
        if self.sealed is None or allowed is None:
            return self.sealed
        return self.sealed if np.count_nonzero(allowed[-len(self.delta) :]) >= _FEW_ROWS else None

    def _later(self, sealed: ApproximateSegment | None) -> Iterator[tuple[int, Segment]]:
        """What the delta is searched by, each with its first row: what is `sealed`, then a scan."""
        size, done = self.count - len(self.delta), 0
        if sealed is not None:
            yield size, sealed
            done = len(sealed.vectors)
        if done < len(self.delta):
            yield size + done, ExactSegment(self.delta[done:], self.max_norm)

    def with_sealed(self, sealed: ApproximateSegment) -> View:
        """With this index of the delta's first rows, which reads its vectors where the delta has them now."""
        return replace(self, sealed=replace(sealed, vectors=self.delta[: len(sealed.vectors)]))

    @property
    def unsealed(self) -> int:
        """Rows of the delta that every search scans."""
        return len(self.delta) - self._sealed_rows

    def extends(self, earlier: View) -> bool:
        """Whether rows only came or died since `earlier`: no merge, and no others of the delta were sealed."""
        return self.rows is earlier.rows and self._sealed_rows == earlier._sealed_rows

    @property
    def _sealed_rows(self) -> int:
        return 0 if self.sealed is None else len(self.sealed.vectors)

    def certify(self, queries: FloatArray, k: int, where: bytes | None) -> tuple[Found, list[ExactnessCertificate]]:
        """As an exact `search`, with a certificate for each of `queries` over all rows that `where` lets through."""
        allowed = self.allowed(where)
        size = self.count - len(self.delta)
        main, delta = (None, None) if allowed is None else (allowed[:size], allowed[size:])
        (scores, rows), first = exact_of(self.rows.main).certify(queries, k, main)
        late, second = ExactSegment(self.delta, self.max_norm).certify(queries, k, delta)
        shifted = np.where(late[1] >= 0, late[1] + size, late[1])
        both = [ExactnessCertificate(a[0] + b[0], a[1] + b[1]) for a, b in zip(first, second, strict=True)]
        return _merged([(scores, rows), (late[0], shifted)], len(queries), k), both

    def allowed(self, where: bytes | None) -> BoolArray | None:
        """(rows,): alive and let through by `where`; None when that is every row."""
        if where is not None:
            with stage("filter"):
                return self.alive & self.rows.masks.mask(where, self.count)
        return None if self.live == self.count else self.alive

    def vectors_of(self, places: IntArray) -> FloatArray:
        """(K, D) for row numbers (K,), ascending."""
        size = self.count - len(self.delta)
        split = int(np.searchsorted(places, size))
        if split == 0:
            return self.delta[places - size]
        return np.concatenate((self.rows.main.vectors[places[:split]], self.delta[places[split:] - size]))

    def places(self, seqs: IntArray) -> IntArray:
        """The row numbers of rows that have these sequence numbers, ascending. Raises RuntimeError where none has."""
        places = np.searchsorted(self.seqs, seqs)
        if len(seqs) and (places[-1] >= self.count or not np.array_equal(self.seqs[places], seqs)):
            raise RuntimeError("the record names rows that the view doesn't have")
        return places

    def with_rows(self, seqs: IntArray, items: Sequence[StoredItem], vectors: FloatArray, replaced: IntArray) -> View:
        """With new rows at the end, and without those of the sequence numbers `replaced`; this view stays as it is."""
        rows, count = self.rows, self.count
        if len(seqs) and seqs[0] <= self.last_seq:
            raise RuntimeError("new rows are numbered below old ones")
        alive = np.concatenate((self.alive, np.ones(len(items), np.bool_)))
        alive[self.places(replaced)] = False
        rows.ids.put(count, (item.id for item in items))
        rows.metadata.put(count, [item.metadata for item in items])
        delta, numbers = rows.delta.put(len(self.delta), vectors), rows.seqs.put(count, seqs)
        live = self.live + len(items) - len(replaced)
        after = View(rows, delta, numbers, alive, live, raised_max_norm(self.max_norm, vectors))
        return after.with_sealed(self.sealed) if self.sealed else after

    def with_metadata(self, first: int, patched: Sequence[PatchedRow]) -> View:
        """With `patched` as new rows from the sequence number `first` on, which have the vectors that they had."""
        if not patched:
            return self
        replaced = np.array([row.seq for row in patched])
        items = [StoredItem(row.id, b"", row.metadata) for row in patched]
        vectors = self.vectors_of(self.places(replaced))
        return self.with_rows(np.arange(first, first + len(items)), items, vectors, replaced)

    def without(self, seqs: IntArray) -> View:
        """Without the living rows of these sequence numbers, ascending."""
        if not len(seqs):
            return self
        alive = self.alive.copy()
        alive[self.places(seqs)] = False
        return replace(self, alive=alive, live=self.live - len(seqs))

    def only(self, seqs: IntArray) -> View:
        """Without all rows but those of these sequence numbers."""
        alive = matched(self.seqs, seqs)[1]
        return replace(self, alive=alive, live=int(np.count_nonzero(alive)))

    def merged(self, old: View, merged: View) -> View:
        """`merged`, a view of the main segment that was made from the record, brought up to this view.

        This view grew from `old`, which was there before the record was read: rows of `old` that `merged` lacks are
        dead, and so are rows that only `merged` has. Raises RuntimeError where it lacks a living row.
        """
        rows, done = merged.rows, merged.count
        newer = max(int(np.searchsorted(self.seqs, merged.last_seq, "right")), old.count)
        places, known = matched(merged.seqs, self.seqs)
        whole = bool(known.all())
        rows.ids.blobs.put(done, self.rows.ids.blobs.rows(newer, self.count))
        rows.metadata.put(done, self.rows.metadata.rows(newer, self.count))
        delta = rows.delta.put(0, self.delta[newer - len(self.rows.main.vectors) :])
        seqs = rows.seqs.put(done, self.seqs[newer:])
        known[known] = self.alive[places[known]]
        alive = np.concatenate((known, self.alive[newer:]))
        if np.count_nonzero(alive) != self.live:
            raise RuntimeError("the new main segment lacks rows of the view")
        carried = replace(rows, masks=self.rows.masks.carried(rows.metadata, places)) if whole else rows
        return View(carried, delta, seqs, alive, self.live, raised_max_norm(merged.max_norm, delta))

    def vector(self, row: int) -> FloatArray:
        """(D,)."""
        size = self.count - len(self.delta)
        vector: FloatArray = self.rows.main.vectors[row] if row < size else self.delta[row - size]
        return vector


def empty_view(dim: int, metric: Metric = "cosine") -> View:
    """A view of no rows."""
    return view_of(ExactBackend(metric).build(np.empty((0, dim), np.float32)), empty_block(dim))


def view_of(main: Segment, block: RowBlock, select: Callable[[FloatArray], Segment] = ExactSegment) -> View:
    """A view whose rows are those of `main` and of the `block` that it was built from, all alive.

    `select` makes a segment of those that a frequent filter leaves.
    """
    metadata, dim = Blobs(block.metadata), block.vectors.shape[1]
    rows = Rows(
        main,
        Growing((dim,), np.float32),
        Growing((), np.int64),
        Texts(block.ids),
        metadata,
        FilterMasks(metadata),
        MaterialisedFilters(select),
    )
    delta, seqs = rows.delta.put(0, block.vectors[:0]), rows.seqs.put(0, block.seqs)
    max_norm = None if main.max_norm is None else 0.0
    return View(rows, delta, seqs, np.ones(len(seqs), np.bool_), len(seqs), max_norm)


def _min_scores(parts: list[Found], k: int) -> FloatArray | None:
    """(B,): scores of which each query has k already; None before there are so many."""
    return parts[0][0][:, k - 1] if parts and parts[0][0].shape[1] >= k else None


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
