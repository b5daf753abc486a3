"""All collections of one index service, by name and by alias."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace

from clip_core.errors import Conflict, FingerprintMismatch, Unavailable, UnknownCollection
from index_service.collection.aliases import Aliases
from index_service.collection.background_merges import Maintenance
from index_service.collection.collection import Collection
from index_service.record.store import CollectionInfo, Store
from index_service.segments.engine_choice import Engines
from index_service.segments.segment_files import remove_orphans
from index_service.settings import IndexSettings

_log = logging.getLogger("index_service.collection.registry")


class Registry:
    """The collections recorded in `store`. Call `load()` or `start()` first, `close()` last."""

    def __init__(self, store: Store, settings: IndexSettings) -> None:
        self.ready = False
        self.failure: str | None = None
        self.on_merge: Callable[[float], None] = lambda _: None
        self.store = self._store = store
        self._settings, self._engines = settings, Engines(settings)
        self._collections: dict[str, Collection] = {}
        self._aliases = Aliases(store)
        self._lock = threading.Lock()
        self._maintenance = Maintenance(
            settings, self._load_or_fail, self._loaded, lambda seconds: self.on_merge(seconds)
        )

    def start(self) -> None:
        """Load in the background, then merge and seal whenever a collection is due."""
        self._maintenance.start()

    def load(self) -> None:
        """Bring every collection up to date with the record."""
        infos = self._store.collections()
        remove_orphans(self._store.path.parent, {info.key for info in infos})
        for info in infos:
            collection = Collection(info, self._store, self._engines)
            collection.load(self._maintenance.stopped)
            self._collections[info.name] = collection
            if collection.engine_due():
                self._maintenance.merge_later(collection)
            self.written(collection)
        self._aliases.load(self._collections.values())
        self.ready = not self._maintenance.stopped()

    def _load_or_fail(self) -> bool:
        """Whether the collections are loaded; else `failure` says why."""
        try:
            self.load()
        except Exception as error:
            self.failure = f"the collections couldn't be loaded, which is tried again: {error!r}"
            _log.exception("load failed")
            return False
        return True

    def _loaded(self) -> list[Collection]:
        return list(self._collections.copy().values())

    def close(self) -> None:
        """Stop the background threads and close the record. A running merge is dropped, and nothing is lost by that."""
        self._maintenance.close()
        self._store.close()

    def get(self, name: object, fingerprint: str | None = None) -> Collection:
        """By its name or an alias. Raises UnknownCollection, or Unavailable while loading and where it is stale.

        An alias that was switched leads to the collection before it for searches of that one's `fingerprint`, so that
        searches by the model before don't fail while it is still serving.
        """
        collection = self._find(name, fingerprint)
        if collection.stale:
            self._maintenance.refresh_later(collection)
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
        collection.load(self._maintenance.stopped)
        with self._lock:
            self.check_free(info.name)
            self._store.rename_collection(info.key, info.name)
            self._collections[info.name] = collection
        if collection.engine_due():
            self._maintenance.merge_later(collection)
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
        """To be called after each write: a merge or a sealing may be due."""
        self._maintenance.written(collection)

    def check_ready(self) -> None:
        """Raises Unavailable until everything is loaded."""
        if not self.ready:
            raise Unavailable(self.failure or "the collections are still being loaded: try again in a moment")


def _check_same(old: CollectionInfo, new: CollectionInfo, fields: Sequence[str]) -> None:
    if old.fingerprint != new.fingerprint:
        raise FingerprintMismatch(
            f"the collection {old.name} holds vectors of {old.model} ({old.fingerprint}), "
            f"not of {new.model} ({new.fingerprint})",
            param="fingerprint",
        )
    for field in fields:
        if getattr(old, field) != getattr(new, field):
            raise Conflict(
                f"the collection {old.name} exists with {field} {getattr(old, field)}, not {getattr(new, field)}",
                param=field,
            )
