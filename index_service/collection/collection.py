"""One collection: a write goes to the record first, then into a new `View`. Merges run in the background.

Invariant: `view` is replaced as a whole, and only after the record has committed. A search that starts after a write
was acknowledged sees the write, and no search waits for a writer or for a merge.

Invariant: a view that can't be made after a commit is made again from the record. Until then the collection is `stale`
and answers nothing.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import islice
from typing import Any, TypeVar

import numpy as np

from clip_core.errors import ClipServeError, Unavailable, UnknownCollection, UnknownItem
from clip_core.wire import Consistency, Exactness, FloatArray
from index_service.answers.duplicates import DuplicateGroup, Duplicates
from index_service.answers.facets import FieldFacet, facets_of
from index_service.answers.hits import BatchAnswers, Search, SearchBatch, expected_bytes, vector_bytes
from index_service.answers.listing import Listing, Match
from index_service.collection.backoff import Retries
from index_service.collection.description import describe_collection, describe_segment
from index_service.collection.patches import PatchBatch, patched_rows
from index_service.collection.recall import RecallCounts, Sample
from index_service.collection.recent_queries import RecentQueries
from index_service.collection.searching import cost_in_view, search_in_view
from index_service.collection.segment_builder import SegmentBuilder
from index_service.collection.stored import Gauges
from index_service.engines.base import BuildCancelled, IntArray
from index_service.engines.exact.segment import ExactSegment
from index_service.record.group_commit import GroupCommit
from index_service.record.store import CollectionInfo, ItemChunk, PatchedRow, Store, StoredItem, WrittenRows
from index_service.segments.engine_choice import Engines
from index_service.segments.merge_job import rows_of
from index_service.segments.sealing import seal_due, sealed_further
from index_service.segments.segment_files import half_of_memory, prefault
from index_service.segments.view import View, empty_view, view_of

T = TypeVar("T")
_log = logging.getLogger("index_service.collection.collection")


class Collection:
    """Searches read `view`. Everything that writes holds the lock."""

    waits, most_metadata = False, None

    def __init__(self, info: CollectionInfo, store: Store, engines: Engines) -> None:
        self.info = info
        self.view = empty_view(info.dim, info.metric)
        self.dropped = False
        self.stale = False  # the view isn't what the record says
        self._touched = time.monotonic()
        self.recall, self.retries = RecallCounts(), Retries()  # of merges
        self._recent = RecentQueries()
        self._store, self._engines = store, engines
        self._segments = SegmentBuilder(info, store, engines, self._recent, lambda: self.dropped)
        self._lock, self._merging = threading.Lock(), threading.Lock()
        self._duplicates = Duplicates()
        self._upserts = GroupCommit(self._lock, self._upsert_all)
        self._patches = GroupCommit(self._lock, self._patch_all)

    def load(self, cancelled: Callable[[], bool] = lambda: False) -> None:
        """Map the newest segment on disk and bring it up to date with the record; without one, write one first."""
        stored = self._segments.newest(cancelled)
        if stored is not None:
            self.view = view_of(self._segments.loaded(stored), stored.block, self._segments.selection)
        with self._lock:
            self._catch_up(cancelled)

    def _catch_up(self, cancelled: Callable[[], bool] = lambda: False) -> None:
        """Make the view what the record says, from the rows that it has already; the caller holds the lock."""
        self.stale, key = True, self.info.key
        view = self.view.only(self._store.seqs(key))
        for chunk in self._store.stream(key, view.last_seq):
            if cancelled():
                return
            block = rows_of(chunk, self.info.dim)
            view = view.with_rows(block.seqs, chunk.items, block.vectors, block.seqs[:0])
        self.view = view
        self.stale = False

    def refresh(self) -> None:
        """Bring a stale view up to date with the record."""
        with self._lock:
            if self.stale and not self.dropped:
                self._catch_up()

    def upsert(self, items: Sequence[StoredItem], vectors: FloatArray) -> None:
        """Write `items`, whose ids differ, with their `vectors` (N, D); durable and visible on return."""
        if items:
            self._upserts.write((items, vectors))

    def _upsert_all(self, batches: Sequence[tuple[Sequence[StoredItem], FloatArray]]) -> None:
        def shown(view: View, written: Sequence[WrittenRows]) -> View:
            for (items, vectors), (first, replaced) in zip(batches, written, strict=True):
                view = view.with_rows(np.arange(first, first + len(items)), items, vectors, replaced)
            return view

        self._write(lambda: self._store.upsert_all(self.info.key, [items for items, _ in batches]), shown)

    def patch(self, batch: PatchBatch) -> None:
        """Change the metadata of items; durable and visible on return, with the `results` of the batch."""
        self._patches.write(batch)

    def _patch_all(self, batches: Sequence[PatchBatch]) -> None:
        """A row with other metadata is a new row with the old one's vector, so whatever knows the old stays true."""

        def commit() -> tuple[int, list[PatchedRow]]:
            rows = patched_rows(batches, lambda ids: self._store.metadata(self.info.key, ids))
            return (self._store.patch(self.info.key, rows) if rows else 0), rows

        self._write(commit, lambda view, done: view.with_metadata(*done))

    def _write(self, commit: Callable[[], T], shown: Callable[[View, T], View]) -> T:
        """`commit` to the record, then make the view that shows what it did; the caller holds the lock.

        A view that can't be made, as when memory is short, is read from the record, which has the write by then.
        """
        self._check_open()
        if self.stale:
            self._catch_up()
        self._touched = time.monotonic()
        try:
            done = commit()
        except ClipServeError:  # the record is as it was
            raise
        except Exception:
            self._catch_up()
            raise
        try:
            self.view = shown(self.view, done)
        except Exception:
            _log.exception("view read again from the record", extra={"collection": self.info.name})
            self._catch_up()
        return done

    def seal(self) -> bool:
        """Index more rows of the delta, when there are enough; nobody waits for it."""
        view = self.view
        after = sealed_further(view)
        if after is None or after.sealed is None:
            return False
        with self._lock:
            if self.view.extends(view):
                self.view = self.view.with_sealed(after.sealed)
        return True

    def delete(self, ids: Sequence[str]) -> int:
        """Delete the items of these ids; how many there were."""
        with self._lock:
            return len(self._write(lambda: self._store.delete(self.info.key, ids), View.without))

    def delete_where(self, where: bytes) -> int:
        """Delete every item that the canonical filter lets through; how many there were."""
        self.view.allowed(where)  # most of the work, before anyone has to wait
        with self._lock:
            return len(self._write(lambda: self._delete_where(where), View.without))

    def _delete_where(self, where: bytes) -> IntArray:
        view = self.view
        seqs = view.seqs[view.alive & view.rows.masks.mask(where, view.count)]
        self._store.delete_rows(self.info.key, seqs)
        return seqs

    def get(self, id_: str, consistency: Consistency | None = None) -> StoredItem:
        """The item as recorded, whatever `consistency` is asked for. Raises UnknownItem."""
        del consistency
        item = self._store.get(self.info.key, id_)
        if item is None:
            raise UnknownItem(f"there is no item {id_!r} in the collection {self.info.name}", param="id")
        return item

    def items(self, ids: Sequence[str]) -> list[StoredItem]:
        """Those of `ids` that there are, in any order."""
        return self._store.items(self.info.key, ids)

    def page(self, after: str, limit: int) -> list[tuple[str, bytes]]:
        """(id, metadata) of the next `limit` items by id."""
        return self._store.page(self.info.key, after, limit)

    def matches(self, where: bytes, after: str, most: int) -> Iterator[Match]:
        """Items behind the id `after` that the canonical filter lets through, by id; about `most` will be taken."""
        return Listing(self._view_since, partial(self._store.entries, self.info.key)).matches(where, after, most)

    def matching(self, where: bytes, after: str, most: int) -> Iterator[tuple[str, bytes]]:
        """(id, metadata) of the same."""
        return ((match.id, match.metadata) for match in self.matches(where, after, most))

    def ids(self, where: bytes | None, after: str, most: int) -> tuple[list[str], str | None]:
        """Of up to `most` items behind the id `after`, by id: all, or those that the canonical filter lets through.

        With them the last one where more follow, else None.
        """
        if where is None:
            found = [id_ for id_, _ in self._store.entries(self.info.key, after, most + 1)]
        else:
            found = [match.id for match in islice(self.matches(where, after, most + 1), most + 1)]
        return found[:most], found[most - 1] if len(found) > most else None

    def _view_since(self, seq: int) -> View:
        """A view that shows the write of `seq`, which the record has already."""
        if self.view.last_seq >= seq:
            return self.view
        with self._lock:  # whoever wrote it holds this until it is shown
            if self.stale:
                raise Unavailable(f"the collection {self.info.name} is read again from the record: try again soon")
            return self.view

    def since(self, seq: int, limit: int) -> ItemChunk:
        """The next `limit` items written after the sequence number `seq`."""
        return self._store.since(self.info.key, seq, limit)

    def stream(self) -> Iterator[ItemChunk]:
        """All items in the order of insertion, some thousands at a time, as of one moment."""
        return self._store.stream(self.info.key)

    def facets(self, fields: Sequence[str] | None, where: bytes | None, most: int, most_bytes: int) -> list[FieldFacet]:
        """See `facets_of`."""
        return facets_of(self.view, fields, where, most, most_bytes)

    def duplicates(self, after: str, most: int, most_ids: int) -> list[DuplicateGroup]:
        """See `Duplicates.groups`. One call at a time."""
        return self._duplicates.groups(self.view, after, most, most_ids)

    def listing_bytes(self, entries: int) -> int:
        """About how many bytes a listing of so many whole items has."""
        view = self.view
        return int(min(entries, view.live) * (vector_bytes(self.info) + view.rows.metadata.mean))

    def answer_bytes(self, search: Search) -> int:
        """See `expected_bytes`."""
        return expected_bytes(self.info, self.view, search)

    def search_cost(self, batch: SearchBatch, where: bytes | None, exact: Exactness) -> int:
        """In the unit of `Segment.cost`."""
        return cost_in_view(self.view, batch, where, exact)

    def search(
        self,
        batch: SearchBatch,
        where: bytes | None,
        exact: Exactness,
        consistency: Consistency | None = None,
        began: float = math.inf,
    ) -> tuple[BatchAnswers, Sample | None]:
        """What the searches find now, whatever `consistency` is asked for; approximate ones with a sample."""
        del consistency, began
        view = self.view
        self.note_query(batch.queries[0])
        found = search_in_view(self.info, view, batch, where, exact)
        if exact or not view.approximate:
            return found, None
        best = found.scores[0][found.scores[0] > -np.inf]
        return found, Sample(self.recall, view, batch.queries[0], where, best)

    def gauges(self) -> Gauges:
        """What `/metrics` shows."""
        view = self.view
        dead, recall = view.count - view.live, self.recall.describe()
        return Gauges(view.live, len(view.delta), dead, self.retries.failures, recall)

    def drop(self) -> None:
        """Delete the collection from the record; later writes get 404."""
        with self._lock:
            self._check_open()
            try:
                self._store.drop_collection(self.info.key)
                self.dropped = True
            except ClipServeError:
                raise
            except Exception:
                self.dropped = not self._store.holds(self.info.key)
                raise
        self._segments.files.remove()

    def _check_open(self) -> None:
        if self.dropped:
            raise UnknownCollection(f"the collection {self.info.name} was deleted", param="collection")

    def note_query(self, query: FloatArray) -> None:
        """Remember a query (D,) to measure recall on."""
        self._recent.note(query)

    def merge_due(self) -> bool:
        """Whether a merge would pay now."""
        if self.retries.left_s:
            return False
        view = self.view
        scanned = view.rows.main.engine == self._engines.choose(self.info, view.live).engine == ExactSegment.engine
        return self._engines.merge_due(view.count - len(view.delta), len(view.delta), view.count - view.live, scanned)

    def idle_merge_due(self, quiet_s: float) -> bool:
        """Whether no write or merge began for `quiet_s`, and what was written before is worth a merge to searches."""
        view = self.view
        if self.retries.left_s or time.monotonic() - self._touched < quiet_s or not view.approximate:
            return False
        return self._engines.idle_merge_due(view.count - len(view.delta), len(view.delta) + view.count - view.live)

    def seal_due(self) -> bool:
        """Whether there are rows of the delta to index."""
        return seal_due(self.view)

    def engine_due(self) -> bool:
        """Whether the main segment isn't of the engine that it should have, as after a start."""
        main = self.view.rows.main
        return not self.retries.left_s and main.engine != self._engines.choose(self.info, len(main.vectors)).engine

    def merge(self, cancelled: Callable[[], bool] = lambda: False) -> None:
        """Write a new main segment of what the record holds, and swap it in.

        Raises BuildCancelled when `cancelled()` turns true or the collection is dropped meanwhile.
        """
        with self._merging:
            if self.dropped:
                raise BuildCancelled
            self._touched, old = time.monotonic(), self.view  # one that fails is tried again only after a while
            backend = self._engines.choose(self.info, old.live, self._recent.stacked())
            main, block = self._segments.merged(backend, old.live, lambda: cancelled() or self.dropped)
            prefault(block.vectors, half_of_memory())
            merged = view_of(main, block, self._segments.selection)
            with self._lock:
                if self.stale:
                    self._catch_up()
                self.view = self.view.merged(old, merged)
            self._segments.files.remove_older()

    def describe(self) -> dict[str, Any]:
        """The collection as the API shows it."""
        view = self.view
        return {
            **describe_collection(self.info, view.live, view.last_seq, describe_segment(view)),
            "merge_failure": self.retries.describe(),
            "recall": self.recall.describe(),
        }
