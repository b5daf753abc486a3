"""Builds and loads the main segments of one collection: from its files, from the record, or for a merge."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from clip_core.wire import FloatArray
from index_service.collection.recent_queries import RecentQueries
from index_service.engines.base import Backend, BuildCancelled, Segment
from index_service.engines.exact.segment import ExactBackend, ExactSegment
from index_service.metadata.columns import Packed, RowBlock
from index_service.record.store import CollectionInfo, ItemChunk, Store
from index_service.segments.builder_processes import build_apart
from index_service.segments.engine_choice import Engines
from index_service.segments.segment_files import SegmentFiles, SegmentWriter, StoredSegment, segments_folder

_log = logging.getLogger("index_service.collection.segment_builder")


class SegmentBuilder:
    """For the collection `info`. `dropped` says whether it was deleted; its files are removed then."""

    def __init__(
        self, info: CollectionInfo, store: Store, engines: Engines, queries: RecentQueries, dropped: Callable[[], bool]
    ) -> None:
        self.files = SegmentFiles(segments_folder(store.path.parent, info.key), info.dim)
        self._info, self._store, self._engines, self._queries, self._dropped = info, store, engines, queries, dropped

    def newest(self, cancelled: Callable[[], bool]) -> StoredSegment | None:
        """The newest segment on disk; one is written first where there is none and there are many rows."""
        stored = self.files.newest(self._store.last_seq(self._info.key))
        if stored is None and self._engines.merge_due(0, self._store.count(self._info.key), 0):
            return self.rebuilt(cancelled)
        return stored

    def loaded(self, stored: StoredSegment) -> Segment:
        """A segment on disk, by its engine's saved index when that is the right one and can be read.

        Else all rows are scanned, until a merge builds the engine again.
        """
        backend, vectors = self._engines.choose(self._info, len(stored.block.seqs)), stored.block.vectors
        exact = ExactBackend(self._info.metric)
        load: Callable[[Path, FloatArray], Segment] | None = getattr(backend, "load", None)
        if stored.engine_file is None or load is None or stored.engine != backend.engine:
            return exact.build(vectors)
        try:
            return load(stored.engine_file, vectors)
        except (ImportError, OSError, RuntimeError, ValueError, KeyError, TypeError) as error:  # of another version
            _log.warning("saved engine not read", extra={"collection": self._info.name, "reason": str(error)[:200]})
            return exact.build(vectors)

    def selection(self, vectors: FloatArray) -> Segment:
        """An index of the rows `vectors` (R, D) of the main segment that a frequent filter leaves."""
        return self._engines.selection(self._info, self._queries.stacked()).build(vectors)

    def rebuilt(self, cancelled: Callable[[], bool]) -> StoredSegment | None:
        """An exact segment on disk, streamed from the record; None when there is no room for it."""
        try:
            blocks = (rows_of(chunk, self._info.dim) for chunk in self._store.stream(self._info.key))
            with self.writing(blocks, cancelled) as (draft, block):
                draft.save(ExactSegment(block.vectors))
                draft.commit()
        except (OSError, BuildCancelled) as error:
            _log.warning("segment not written", extra={"collection": self._info.name, "reason": str(error)})
            return None
        return StoredSegment(block, ExactSegment.engine, None)

    @contextmanager
    def writing(
        self, blocks: Iterable[RowBlock], cancelled: Callable[[], bool]
    ) -> Iterator[tuple[SegmentWriter, RowBlock]]:
        """A new segment on disk with all rows of `blocks`; it is removed unless it is committed. Raises OSError."""
        try:
            draft = self.files.draft()
            try:
                for block in blocks:
                    if cancelled():
                        raise BuildCancelled
                    draft.append(block)
                yield draft, draft.mapped()
            finally:
                draft.drop()
        except Exception as error:
            if self._dropped():  # and its files with it, which may fail in many ways
                raise BuildCancelled from error
            raise
        finally:
            if self._dropped():
                self.files.remove()

    def built(
        self, backend: Backend, draft: SegmentWriter, vectors: FloatArray, cancelled: Callable[[], bool]
    ) -> Segment:
        """The engine's segment of `vectors` (N, D), built by another process when there are many."""
        if len(vectors) < self._engines.settings.build_apart_rows:
            return backend.build(vectors, cancelled)
        threads = self._engines.build_threads
        return build_apart(backend, vectors, draft.vectors_file, draft.engine_file, cancelled, threads)


def paced(blocks: Iterable[RowBlock]) -> Iterator[RowBlock]:
    """The same blocks, with a pause after each as long as it took: half of the time is left to searches."""
    for block in blocks:
        started = time.perf_counter()
        yield block
        time.sleep(time.perf_counter() - started)


def rows_of(chunk: ItemChunk, dim: int) -> RowBlock:
    """Rows of the record as columns, with vectors of `dim` numbers."""
    vectors = np.frombuffer(b"".join(item.vector for item in chunk.items), "<f4").reshape(-1, dim)
    ids = Packed.of([item.id.encode() for item in chunk.items])
    return RowBlock(np.array(chunk.seqs), vectors, ids, Packed.of([item.metadata for item in chunk.items]))
