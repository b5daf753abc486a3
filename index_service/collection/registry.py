"""All collections, and the background threads: one loads them and merges their segments, one indexes their deltas."""

from __future__ import annotations

import logging
import math
import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import faiss

from clip_core.errors import Conflict, FingerprintMismatch, Unavailable, UnknownCollection
from clip_core.heap import give_back
from index_service.collection.aliases import Aliases
from index_service.collection.backoff import waits
from index_service.collection.collections import Collection
from index_service.engines.approximate.segment import ApproximateSegment
from index_service.engines.base import BuildCancelled
from index_service.record.store import CollectionInfo, Store
from index_service.segments.engine_choice import Engines
from index_service.segments.segment_files import half_of_memory, prefault, remove_orphans
from index_service.settings import IndexSettings

_log = logging.getLogger("index_service.collection.registry")
_STOP_S = 3.0
_SEAL_S, _LOOK_S = 10.0, 0.05  # how long a merge waits for rows to be sealed, and how often it looks
_QUIET_S = 1.0  # after the last step of sealing


class Registry:
    """The collections of one `store`. `load()` or `start()` comes first, `close()` last."""

    def __init__(self, store: Store, settings: IndexSettings) -> None:
        self.ready = False
        self.failure: str | None = None
        self.on_merge: Callable[[float], None] = lambda _: None
        self.store = self._store = store
        self._settings, self._engines = settings, Engines(settings)
        self._collections: dict[str, Collection] = {}
        self._aliases = Aliases(store)
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._due: queue.SimpleQueue[Collection | None] = queue.SimpleQueue()
        self._queued: set[Collection] = set()
        self._sealing: set[Collection] = set()
        self._unsealed: queue.SimpleQueue[Collection | None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Load in the background, then merge and seal whenever a collection is due."""
        for target, name in ((self._run, "index-merge"), (self._seal_all, "index-seal")):
            thread = threading.Thread(target=target, name=name, daemon=True)
            self._threads.append(thread)
            thread.start()

    def load(self) -> None:
        """Bring every collection up to date with the record."""
        infos = self._store.collections()
        remove_orphans(self._store.path.parent, {info.key for info in infos})
        for info in infos:
            collection = Collection(info, self._store, self._engines)
            collection.load(self._stopped.is_set)
            self._collections[info.name] = collection
            if collection.engine_due():
                self._enqueue(collection)
            self.written(collection)
        self._aliases.load(self._collections.values())
        self.ready = not self._stopped.is_set()

    def _map_pages(self) -> None:
        """Of the vectors on disk, while the service is ready already."""
        room = half_of_memory()
        for collection in list(self._collections.values()):
            if not self._stopped.is_set():
                room -= prefault(collection.view.rows.main.vectors, room)

    def close(self) -> None:
        """Stop the threads and close the record; a merge under way is dropped, nothing is lost by that."""
        self._stopped.set()
        self._due.put(None)
        self._unsealed.put(None)
        for thread in self._threads:
            thread.join(_STOP_S)
        self._store.close()

    def get(self, name: object, fingerprint: str | None = None) -> Collection:
        """By its name or an alias. Raises UnknownCollection, or Unavailable while loading and where it is stale.

        An alias that was switched leads to the collection before it for searches of that one's `fingerprint`, so that
        searches by the model before don't fail while it is still serving.
        """
        collection = self._find(name, fingerprint)
        if collection.stale:
            self._unsealed.put(collection)
            raise Unavailable(f"the collection {collection.info.name} is read again from the record: try again soon")
        return collection

    def _find(self, name: object, fingerprint: str | None = None) -> Collection:
        self.check_ready()
        collection = self._collections.get(name) if isinstance(name, str) else None
        if collection is None and isinstance(name, str):
            collection = self._aliases.resolve(name, fingerprint)
        if collection is None or collection.dropped:
            raise UnknownCollection(f"there is no collection {str(name)[:64]!r}", param="collection")
        return collection

    def set_alias(self, name: str, target: object) -> None:
        """Point the alias `name` to the collection `target` at once. Raises UnknownCollection, Conflict."""
        with self._lock:
            if name in self._collections:
                raise Conflict(f"{name} is the name of a collection", param="name")
            aliases = self._aliases.all()
            if name not in aliases and len(aliases) >= self._settings.max_collections:
                raise Conflict(f"there are {len(aliases)} aliases, the most allowed: delete one first")
            self._aliases.set(name, self.get(target))

    def drop_alias(self, name: str) -> None:
        """Forget an alias; its collection stays. Raises NotFound."""
        with self._lock:
            self._aliases.drop(name)

    def aliases(self) -> dict[str, str]:
        """The name of every alias → that of its collection."""
        self.check_ready()
        return self._aliases.all()

    def all(self) -> list[Collection]:
        """Every collection, by name."""
        self.check_ready()
        return [collection for _, collection in sorted(self._collections.copy().items())]

    def create(self, info: CollectionInfo, *, any_metric: bool = False) -> tuple[Collection, bool]:
        """The collection, and whether it is new. Raises Conflict, FingerprintMismatch when it exists and differs.

        With `any_metric`, for callers who named none, one that exists may have another.
        """
        self.check_ready()
        with self._lock:
            existing = self._collections.get(info.name)
            if existing is not None:
                _check_same(existing.info, info, ("model", "dim") if any_metric else ("model", "dim", "metric"))
                return existing, False
            self.check_free(info.name)
            return self._added(info), True

    def _added(self, info: CollectionInfo) -> Collection:
        """Recorded and then shown, or neither."""
        key = self._store.add_collection(info)
        try:
            collection = Collection(replace(info, key=key), self._store, self._engines)
            self._collections[info.name] = collection
        except Exception:
            self._store.drop_collection(key)
            raise
        return collection

    def check_free(self, name: str) -> None:
        """Raises Conflict when the name is taken or there are too many collections."""
        self.check_ready()
        if name in self._collections or name in self._aliases.all():
            raise Conflict(f"there is a collection or an alias {name} already", param="name")
        if len(self._collections) >= self._settings.max_collections:
            raise Conflict(f"there are {len(self._collections)} collections, the most allowed: delete one first")

    def reveal(self, info: CollectionInfo) -> Collection:
        """Load a hidden collection, whose items are all recorded, and give it its name. Raises Conflict."""
        collection = Collection(info, self._store, self._engines)
        collection.load(self._stopped.is_set)
        with self._lock:
            self.check_free(info.name)
            self._store.rename_collection(info.key, info.name)
            self._collections[info.name] = collection
        if collection.engine_due():
            self._enqueue(collection)
        return collection

    def drop(self, name: str) -> None:
        """Delete a collection with all its items. Raises UnknownCollection; Conflict while an alias leads to it."""
        with self._lock:
            collection = self._find(name)
            held = [alias for alias, target in self._aliases.all().items() if target == collection.info.name]
            if held:
                raise Conflict(f"the alias {held[0]} leads to {collection.info.name}: switch or delete it first")
            try:
                collection.drop()
            finally:
                if collection.dropped:
                    del self._collections[name]
                    self._aliases.forget(collection)

    def written(self, collection: Collection) -> None:
        """Called after each write: queues a merge when one is due, and what the delta can have indexed until then."""
        if collection.merge_due():
            self._enqueue(collection)
        if collection.seal_due():
            self._sealing.add(collection)
            self._unsealed.put(collection)

    def check_ready(self) -> None:
        """Raises Unavailable until everything is loaded."""
        if not self.ready:
            raise Unavailable(self.failure or "the collections are still being loaded: try again in a moment")

    def _enqueue(self, collection: Collection) -> None:
        if collection not in self._queued:
            self._queued.add(collection)
            self._due.put(collection)

    def _run(self) -> None:
        for wait in waits():
            if self._loaded() or self._stopped.wait(wait):
                break
        _log.info("collections loaded", extra={"collections": len(self._collections)})
        self._map_pages()
        while not self._stopped.is_set():
            try:
                collection = self._due.get(timeout=self._patience())
            except queue.Empty:
                self._enqueue_later()
                continue
            if collection is not None:
                self._queued.discard(collection)
                if self._wanted(collection):  # what queued it may be merged already
                    self._merge(collection)

    def _patience(self) -> float | None:
        """Seconds until a collection may be due without having been written to; None: none will be."""
        waits = [
            collection.retries.left_s for collection in self._collections.copy().values() if collection.retries.failures
        ]
        quiet = self._settings.quiet_merge_s / 2
        return max(min([*waits, quiet or math.inf]), _QUIET_S) if waits or quiet else None

    def _wanted(self, collection: Collection) -> bool:
        quiet_s = self._settings.quiet_merge_s
        if collection.merge_due() or collection.engine_due():
            return True
        return quiet_s > 0 and collection.quiet_merge_due(quiet_s)

    def _loaded(self) -> bool:
        try:
            self.load()
        except Exception as error:
            self.failure = f"the collections couldn't be loaded, which is tried again: {error!r}"
            _log.exception("load failed")
            return False
        return True

    def _enqueue_later(self) -> None:
        """Those that nobody wrote to for a while, and those whose merge failed."""
        quiet_s = self._settings.quiet_merge_s
        for collection in self._collections.copy().values():
            failed = collection.retries.failures and self._wanted(collection)
            if failed or (quiet_s and collection.quiet_merge_due(quiet_s)):
                self._enqueue(collection)

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
        """Make a stale view again, seal what is due; whether anything was copied."""
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
        """One step; where little is left it waits for more, since each step copies the index that it adds to."""
        started = time.perf_counter()
        if self._stopped.is_set() or not collection.seal():
            return False
        if not collection.seal_due():
            self._stopped.wait(time.perf_counter() - started)
        return True

    def _merge(self, collection: Collection) -> None:
        started, extra = time.perf_counter(), {"collection": collection.info.name}
        self._await_seal(collection)
        try:
            collection.compact(self._stopped.is_set)
        except BuildCancelled:
            _log.info("merge dropped", extra=extra)
        except Exception as error:  # searches go on with the segments there are
            wait = collection.retries.failed(error)
            _log.exception("merge failed", extra={**extra, "failures": collection.retries.failures, "retry_s": wait})
        else:
            collection.retries.succeeded()
            give_back()
            seconds = time.perf_counter() - started
            self.on_merge(seconds)
            _log.info("merged", extra={**extra, "seconds": round(seconds, 3), "rows": collection.view.live})
            _warn_of_recall(collection)
            self.written(collection)  # perhaps much was, meanwhile

    def _await_seal(self, collection: Collection) -> None:
        """Searches scan the rows of a flood until they are sealed, which copying for a merge would delay."""
        deadline = time.monotonic() + _SEAL_S
        while collection in self._sealing and time.monotonic() < deadline and not self._stopped.wait(_LOOK_S):
            pass


def _warn_of_recall(collection: Collection) -> None:
    """Say when no setting of the engine reaches the recall that was asked for."""
    main = collection.view.rows.main
    measured = main.description.get("calibration", {}) if isinstance(main, ApproximateSegment) else {}
    if not measured.get("reached", True):
        advice = "make the collection with a finer factory, or with the engine auto or exact"
        extra = {name: measured[name] for name in ("recall", "recall_target")}
        _log.warning("recall target not reached", extra={"collection": collection.info.name, **extra, "do": advice})


def _check_same(old: CollectionInfo, new: CollectionInfo, fields: Sequence[str]) -> None:
    if old.fingerprint != new.fingerprint:
        raise FingerprintMismatch(
            f"the collection {old.name} holds vectors of {old.model} ({old.fingerprint}), not {new.fingerprint}",
            param="fingerprint",
        )
    for field in fields:
        if getattr(old, field) != getattr(new, field):
            raise Conflict(
                f"the collection {old.name} exists with {field} {getattr(old, field)}, not {getattr(new, field)}",
                param=field,
            )
