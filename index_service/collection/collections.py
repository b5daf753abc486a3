"""One collection: writes go to the record first, then into a new `View`; merges happen in the background.

Invariant: `view` is replaced whole and only after the record has committed, so a search that starts after a write
was acknowledged sees it, and no search ever waits for a writer or for a merge.

Invariant: a view that can't be made after a commit is made again from the record; until then the collection is `stale`
and answers nothing.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import orjson

from clip_core.errors import ClipServeError, UnknownCollection, UnknownItem
from clip_core.wire import FloatArray
from index_service.collection.backoff import Retries
from index_service.collection.recall import RecallTally
from index_service.collection.recent_queries import RecentQueries
from index_service.engines.approximate.segment import ApproximateSegment
from index_service.engines.base import Backend, BuildCancelled, IntArray, Segment
from index_service.engines.exact.segment import ExactBackend, ExactSegment
from index_service.metadata.columns import Packed, RowBlock
from index_service.record.group_commit import GroupCommit
from index_service.record.store import CollectionInfo, ItemChunk, Store, StoredItem, WrittenRows
from index_service.segments.builders import build_apart
from index_service.segments.engine_choice import Engines, describe_engine
from index_service.segments.segment_files import (
    SegmentFiles,
    SegmentWriter,
    StoredSegment,
    half_of_memory,
    prefault,
    segments_folder,
)
from index_service.segments.segments import View, empty_view, view_of

T = TypeVar("T")
_COPY_ROWS = 64  # of a merge, copied between two pauses: while more are written, searches wait
_log = logging.getLogger("index_service.collection.collections")


class Collection:
    """`view` is what searches read; everything that writes holds the lock."""

    def __init__(self, info: CollectionInfo, store: Store, engines: Engines) -> None:
        self.info = info
        self.view = empty_view(info.dim, info.metric)
        self.dropped = False
        self.stale = False  # the view isn't what the record says
        self._touched = time.monotonic()
        self.recall, self.retries = RecallTally(), Retries()  # of merges
        self._recent = RecentQueries()
        self._store, self._engines = store, engines
        self._files = SegmentFiles(segments_folder(store.path.parent, info.key), info.dim)
        self._lock, self._merging = threading.Lock(), threading.Lock()
        self._upserts = GroupCommit(self._lock, self._upsert_all)

    def load(self, cancelled: Callable[[], bool] = lambda: False) -> None:
        """Map the newest segment on disk and bring it up to date with the record; without one, write one first."""
        stored = self._files.newest(self._store.last_seq(self.info.key))
        if stored is None and self._engines.merge_due(0, self._store.count(self.info.key), 0):
            stored = self._rebuilt(cancelled)
        if stored is not None:
            self.view = view_of(self._segment(stored), stored.block, self._selected)
        with self._lock:
            self._catch_up(cancelled)

    def _catch_up(self, cancelled: Callable[[], bool] = lambda: False) -> None:
        """Make the view what the record says, from the rows that it has already; the caller holds the lock."""
        self.stale, key = True, self.info.key
        view = self.view.only(self._store.seqs(key))
        for chunk in self._store.stream(key, view.last_seq):
            if cancelled():
                return
            block = _block(chunk, self.info.dim)
            view = view.with_rows(block.seqs, chunk.items, block.vectors, block.seqs[:0])
        self.view = view
        self.stale = False

    def refresh(self) -> None:
        """Bring a stale view up to date with the record."""
        with self._lock:
            if self.stale and not self.dropped:
                self._catch_up()

    def _segment(self, stored: StoredSegment) -> Segment:
        """The engine's saved index when it is what the collection should have and can be read; else all rows, scanned
        exactly, until a merge builds the engine again.
        """
        backend, vectors = self._engines.choose(self.info, len(stored.block.seqs)), stored.block.vectors
        exact = ExactBackend(self.info.metric)
        load: Callable[[Path, FloatArray], Segment] | None = getattr(backend, "load", None)
        if stored.engine_file is None or load is None or stored.engine != backend.engine:
            return exact.build(vectors)
        try:
            return load(stored.engine_file, vectors)
        except (ImportError, OSError, RuntimeError, ValueError, KeyError, TypeError) as error:  # of another version
            _log.warning("saved engine not read", extra={"collection": self.info.name, "reason": str(error)[:200]})
            return exact.build(vectors)

    def _selected(self, vectors: FloatArray) -> Segment:
        """Those rows (R, D) of the main segment that a filter leaves, coded."""
        return self._engines.selection(self.info, self._recent.stacked()).build(vectors)

    def _rebuilt(self, cancelled: Callable[[], bool]) -> StoredSegment | None:
        """An exact segment on disk, streamed from the record; None when there is no room for it."""
        try:
            blocks = (_block(chunk, self.info.dim) for chunk in self._store.stream(self.info.key))
            with self._drafting(blocks, cancelled) as (draft, block):
                draft.save(ExactSegment(block.vectors))
                draft.commit()
        except (OSError, BuildCancelled) as error:
            _log.warning("segment not written", extra={"collection": self.info.name, "reason": str(error)})
            return None
        return StoredSegment(block, ExactSegment.engine, None)

    @contextmanager
    def _drafting(
        self, blocks: Iterable[RowBlock], cancelled: Callable[[], bool]
    ) -> Iterator[tuple[SegmentWriter, RowBlock]]:
        """A draft of a segment with all rows of `blocks`; it is removed unless it gets committed."""
        try:
            draft = self._files.draft()
            try:
                for block in blocks:
                    if cancelled():
                        raise BuildCancelled
                    draft.append(block)
                yield draft, draft.mapped()
            finally:
                draft.drop()
        except Exception as error:
            if self.dropped:  # and so were its files: whatever came of that, in a builder too
                raise BuildCancelled from error
            raise
        finally:
            if self.dropped:
                self._files.remove()

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
        after = view.seal()
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

    def get(self, id_: str) -> StoredItem:
        """The item as recorded. Raises UnknownItem."""
        item = self._store.get(self.info.key, id_)
        if item is None:
            raise UnknownItem(f"there is no item {id_!r} in the collection {self.info.name}", param="id")
        return item

    def page(self, after: str, limit: int) -> list[tuple[str, bytes]]:
        """(id, metadata) of the next `limit` items by id."""
        return self._store.page(self.info.key, after, limit)

    def since(self, seq: int, limit: int) -> ItemChunk:
        """The next `limit` items written after the sequence number `seq`."""
        return self._store.since(self.info.key, seq, limit)

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
        self._files.remove()

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

    def quiet_merge_due(self, quiet_s: float) -> bool:
        """Whether no write or merge began for `quiet_s`, and what was written before is worth a merge to searches."""
        view = self.view
        if self.retries.left_s or time.monotonic() - self._touched < quiet_s or not view.approximate:
            return False
        return self._engines.quiet_merge_due(view.count - len(view.delta), len(view.delta) + view.count - view.live)

    def seal_due(self) -> bool:
        """Whether there are rows of the delta to index."""
        return self.view.seal_due

    def engine_due(self) -> bool:
        """Whether the main segment isn't of the engine that it should have, as after a start."""
        main = self.view.rows.main
        return not self.retries.left_s and main.engine != self._engines.choose(self.info, len(main.vectors)).engine

    def compact(self, cancelled: Callable[[], bool] = lambda: False) -> None:
        """Merge main segment, delta and tombstones into a new main segment, and swap it in.

        Raises BuildCancelled when `cancelled()` turns true or the collection is dropped meanwhile.
        """
        with self._merging:
            if self.dropped:
                raise BuildCancelled
            self._touched, old = time.monotonic(), self.view  # one that fails is tried again only after a while
            live = np.flatnonzero(old.alive)
            backend = self._engines.choose(self.info, len(live), self._recent.stacked())
            parts = (old.block(live[start : start + _COPY_ROWS]) for start in range(0, len(live), _COPY_ROWS))

            def given_up() -> bool:
                return cancelled() or self.dropped

            with self._drafting(_paced(parts), given_up) as (draft, block):
                main = self._built(backend, draft, block.vectors, given_up)
                draft.save(main)
                draft.commit()
            prefault(block.vectors, half_of_memory())
            with self._lock:
                self.view = self.view.merged(old, live, view_of(main, block, self._selected))
            self._files.remove_older()

    def _built(
        self, backend: Backend, draft: SegmentWriter, vectors: FloatArray, cancelled: Callable[[], bool]
    ) -> Segment:
        """In a process of its own, but where that would start for longer than the build takes."""
        if len(vectors) < self._engines.settings.build_apart_rows:
            return backend.build(vectors, cancelled)
        threads = self._engines.build_threads
        return build_apart(backend, vectors, draft.vectors_file, draft.engine_file, cancelled, threads)

    def describe(self) -> dict[str, Any]:
        """The collection as the API shows it."""
        info, view = self.info, self.view
        return {
            "name": info.name,
            "model": info.model,
            "fingerprint": info.fingerprint,
            "dim": info.dim,
            "metric": info.metric,
            **describe_engine(info.engine),
            "recall_target": info.recall_target,
            "count": view.live,
            "seq": view.last_seq,
            "created": info.created,
            "metadata": orjson.Fragment(info.metadata),
            "segment": _describe_segment(view.rows.main, view),
            "merge_failure": self.retries.describe(),
            "recall": self.recall.describe(),
        }


def _paced(blocks: Iterable[RowBlock]) -> Iterator[RowBlock]:
    """The same, with a pause after each as long as it took: half of the time is left to searches."""
    for block in blocks:
        started = time.perf_counter()
        yield block
        time.sleep(time.perf_counter() - started)


def _block(chunk: ItemChunk, dim: int) -> RowBlock:
    """Rows of the record as columns."""
    vectors = np.frombuffer(b"".join(item.vector for item in chunk.items), "<f4").reshape(-1, dim)
    ids = Packed.of([item.id.encode() for item in chunk.items])
    return RowBlock(np.array(chunk.seqs), vectors, ids, Packed.of([item.metadata for item in chunk.items]))


def _describe_segment(main: Segment, view: View) -> dict[str, Any]:
    delta = len(view.delta)
    return {
        "engine": main.engine,
        **(main.description if isinstance(main, ApproximateSegment) else {}),
        "rows": view.count - delta,
        "delta": delta,
        "tombstones": view.count - view.live,
    }
