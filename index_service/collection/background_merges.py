"""Background work on collections: one thread loads and merges them, another one seals the rows of their deltas."""

from __future__ import annotations

import logging
import math
import queue
import threading
import time
from collections.abc import Callable, Iterable

import faiss

from clip_core.heap import give_back
from clip_core.tracing.spans import root
from index_service.collection.backoff import waits
from index_service.collection.collection import Collection
from index_service.engines.approximate.segment import ApproximateSegment
from index_service.engines.base import BuildCancelled
from index_service.segments.segment_files import half_of_memory, prefault
from index_service.settings import IndexSettings

_log = logging.getLogger("index_service.collection.background_merges")
_STOP_S = 3.0
_SEAL_S, _LOOK_S = 10.0, 0.05  # how long a merge waits for rows to be sealed, and how often it looks
_QUIET_S = 1.0  # after the last step of sealing


class Maintenance:
    """Merges and seals the `collections` once `load` says that they are loaded.

    `on_merge` gets the seconds of each merge. Call `start()` first, `close()` last.
    """

    def __init__(
        self,
        settings: IndexSettings,
        load: Callable[[], bool],
        collections: Callable[[], Iterable[Collection]],
        on_merge: Callable[[float], None],
    ) -> None:
        self._settings, self._load, self._collections, self._on_merge = settings, load, collections, on_merge
        self._stopped = threading.Event()
        self._due: queue.SimpleQueue[Collection | None] = queue.SimpleQueue()
        self._queued: set[Collection] = set()
        self._sealing: set[Collection] = set()
        self._unsealed: queue.SimpleQueue[Collection | None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Start both threads."""
        for target, name in ((self._run, "index-merge"), (self._seal_all, "index-seal")):
            thread = threading.Thread(target=target, name=name, daemon=True)
            self._threads.append(thread)
            thread.start()

    def stopped(self) -> bool:
        """Whether `close()` was called."""
        return self._stopped.is_set()

    def close(self) -> None:
        """Stop both threads; a running merge is dropped."""
        self._stopped.set()
        self._due.put(None)
        self._unsealed.put(None)
        for thread in self._threads:
            thread.join(_STOP_S)

    def written(self, collection: Collection) -> None:
        """Queue a merge of the collection when one is due, and the sealing of its delta."""
        if collection.merge_due():
            self.merge_later(collection)
        if collection.seal_due():
            self._sealing.add(collection)
            self._unsealed.put(collection)

    def merge_later(self, collection: Collection) -> None:
        """Queue a merge, once."""
        if collection not in self._queued:
            self._queued.add(collection)
            self._due.put(collection)

    def refresh_later(self, collection: Collection) -> None:
        """Have a stale view made again."""
        self._unsealed.put(collection)

    def _map_pages(self) -> None:
        """Map the vectors on disk into memory; the service is ready already."""
        room = half_of_memory()
        for collection in self._collections():
            if not self._stopped.is_set():
                room -= prefault(collection.view.rows.main.vectors, room)

    def _run(self) -> None:
        for wait in waits():
            if self._load() or self._stopped.wait(wait):
                break
        _log.info("collections loaded", extra={"collections": len(list(self._collections()))})
        self._try(self._map_pages)
        faiss.omp_set_num_threads(1)  # of this thread: searches go on while an index is loaded
        while not self._stopped.is_set():
            self._try(self._merge_next)

    def _try(self, step: Callable[[], None]) -> None:
        """One step that fails must not end all merges."""
        try:
            step()
        except Exception:
            _log.exception("a step of the background work failed")
            self._stopped.wait(_QUIET_S)

    def _merge_next(self) -> None:
        """Merge the next collection that is due; queue others when none comes for a while."""
        try:
            collection = self._due.get(timeout=self._patience())
        except queue.Empty:
            self._queue_quiet()
            return
        if collection is not None:
            self._queued.discard(collection)
            if self._wanted(collection):  # what queued it may be merged already
                self.merge(collection)

    def _patience(self) -> float | None:
        """Seconds until a collection may be due without having been written to; None: none will be."""
        waits = [collection.retries.left_s for collection in self._collections() if collection.retries.failures]
        quiet = self._settings.merge_idle_s / 2
        return max(min([*waits, quiet or math.inf]), _QUIET_S) if waits or quiet else None

    def _wanted(self, collection: Collection) -> bool:
        quiet_s = self._settings.merge_idle_s
        if collection.merge_due() or collection.engine_due():
            return True
        return quiet_s > 0 and collection.idle_merge_due(quiet_s)

    def _queue_quiet(self) -> None:
        """Queue the collections without a recent write, and those whose merge failed."""
        quiet_s = self._settings.merge_idle_s
        for collection in self._collections():
            failed = collection.retries.failures and self._wanted(collection)
            if failed or (quiet_s and collection.idle_merge_due(quiet_s)):
                self.merge_later(collection)

    def _seal_all(self) -> None:
        faiss.omp_set_num_threads(1)  # of this thread: searches go on meanwhile
        copied = False
        while not self._stopped.is_set():
            try:
                collection = self._unsealed.get(timeout=_QUIET_S if copied else None)
            except queue.Empty:
                give_back()  # each step has copied thousands of lists
                copied = False
                continue
            if collection is not None:
                copied |= self._advance(collection)

    def _advance(self, collection: Collection) -> bool:
        """Make a stale view again and seal its delta; whether an index was copied."""
        copied = False
        try:
            collection.refresh()
            while self._sealed_more(collection):
                copied = True
        except Exception:  # the next search or write asks again
            _log.exception("not brought up to date", extra={"collection": collection.info.name})
        self._sealing.discard(collection)
        return copied

    def _sealed_more(self, collection: Collection) -> bool:
        """Seal once more. Each step copies the index, so it waits for more rows where few are left."""
        started = time.perf_counter()
        if self._stopped.is_set() or not collection.seal():
            return False
        if not collection.seal_due():
            self._stopped.wait(time.perf_counter() - started)
        return True

    def merge(self, collection: Collection) -> None:
        """Merge now. Raises nothing: a failure is logged, and the merge is tried again later."""
        started, extra = time.perf_counter(), {"collection": collection.info.name}
        self._await_seal(collection)
        try:
            with root("merge", attributes={"clipserve.collection": collection.info.name}):
                collection.merge(self._stopped.is_set)
        except BuildCancelled:
            _log.info("merge dropped", extra=extra)
        except Exception as error:  # searches go on with the segments there are
            wait = collection.retries.failed(error)
            _log.exception("merge failed", extra={**extra, "failures": collection.retries.failures, "retry_s": wait})
        else:
            collection.retries.succeeded()
            give_back()
            seconds = time.perf_counter() - started
            self._on_merge(seconds)
            _log.info("merged", extra={**extra, "seconds": round(seconds, 3), "rows": collection.view.live})
            _warn_of_recall(collection)
            self.written(collection)  # perhaps much was, meanwhile

    def _await_seal(self, collection: Collection) -> None:
        """Wait until the delta is sealed: the copying of a merge would delay it, and searches scan unsealed rows."""
        deadline = time.monotonic() + _SEAL_S
        while collection in self._sealing and time.monotonic() < deadline and not self._stopped.wait(_LOOK_S):
            pass


def _warn_of_recall(collection: Collection) -> None:
    """Log when no search parameters reach the recall target."""
    main = collection.view.rows.main
    measured = main.description.get("calibration", {}) if isinstance(main, ApproximateSegment) else {}
    if not measured.get("reached", True):
        advice = "make the collection with a finer factory, or with the engine auto or exact"
        extra = {name: measured[name] for name in ("recall", "recall_target")}
        _log.warning("recall target not reached", extra={"collection": collection.info.name, **extra, "do": advice})
