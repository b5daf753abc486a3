"""Builds and loads the main segments of one collection: from its files, from the record, or for a merge."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from clip_core.wire import FloatArray
from index_service.collection.recent_queries import RecentQueries
from index_service.engines.base import Backend, BuildCancelled, Segment
from index_service.engines.exact.segment import ExactBackend
from index_service.metadata.columns import RowBlock
from index_service.record.store import CollectionInfo, Store
from index_service.segments.builder_processes import run_in_subprocess, takes
from index_service.segments.engine_choice import Engines
from index_service.segments.merge_job import MergeJob
from index_service.segments.segment_files import Draft, SegmentFiles, StoredSegment, segments_folder

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
            with self._drafted() as draft:
                job = MergeJob(self._store.path, self._info.key, None, draft, ExactBackend(self._info.metric))
                segment, block = job.run(cancelled)
        except (OSError, BuildCancelled) as error:
            _log.warning("segment not written", extra={"collection": self._info.name, "reason": str(error)})
            return None
        return StoredSegment(block, segment.engine, None)

    def merged(self, backend: Backend, rows: int, cancelled: Callable[[], bool]) -> tuple[Segment, RowBlock]:
        """A new segment on disk of what the record holds, about so many `rows`; many are merged by another process.

        Raises BuildCancelled soon after `cancelled()` turns true or the collection is dropped; OSError, RuntimeError.
        """
        with self._drafted() as draft:
            job = MergeJob(self._store.path, self._info.key, self.files.newest_folder, draft, backend)
            if rows >= self._engines.settings.build_process_min_rows and takes(backend):
                return run_in_subprocess(job, cancelled, self._engines.build_threads)
            return job.run(cancelled, pauses=True)

    @contextmanager
    def _drafted(self) -> Iterator[Draft]:
        """A new segment on disk; it is committed at the end, and removed if that fails. Raises OSError."""
        try:
            draft = self.files.draft()
            try:
                yield draft
                self.files.commit(draft)
            finally:
                draft.drop()
        except Exception as error:
            if self._dropped():  # and its files with it, which may fail in many ways
                raise BuildCancelled from error
            raise
        finally:
            if self._dropped():
                self.files.remove()
