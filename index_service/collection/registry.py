"""All collections of one index service, by name and by alias."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Container, Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import cast

from clip_core.errors import Conflict, FingerprintMismatch, InvalidRequest, Unavailable
from clip_core.wire import no_collection
from index_service.collection.aliases import Aliases
from index_service.collection.background_merges import Maintenance
from index_service.collection.collection import Collection
from index_service.collection.stored import CollectionStore, StoredCollection
from index_service.record.records import StoreName
from index_service.record.store import CollectionInfo, Store, StoredItem
from index_service.segments.engine_choice import Engines
from index_service.segments.segment_files import remove_orphans
from index_service.settings import IndexSettings

_log = logging.getLogger("index_service.collection.registry")
_FIXED = ("model", "dim", "metric", "store")


class UnseenCollection(Exception):
    """The shared store may have a collection `name` that isn't known here yet: `look_again`, away from the event loop.

    It is no ClipServeError, so that nobody answers with it.
    """

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


class Registry:
    """The collections recorded in `store`, and those of a `shared` store that other replicas may use, too.

    Call `load()` or `start()` first, `close()` last.
    """

    def __init__(self, store: Store, settings: IndexSettings, shared: CollectionStore | None = None) -> None:
        self.ready = False
        self.failure: str | None = None
        self.on_merge: Callable[[float], None] = lambda _: None
        self.store = self._store = store
        self._settings, self._engines = settings, Engines(settings)
        self._collections: dict[str, Collection] = {}
        self._aliases, self._shared = Aliases(store), shared
        self._lock = threading.Lock()
        self._maintenance = Maintenance(
            settings, self._load_or_fail, self._loaded, lambda seconds: self.on_merge(seconds)
        )

    def start(self) -> None:
        """Load in the background, then merge and seal whenever a collection is due."""
        self._maintenance.start()
        if self._shared is not None:
            self._shared.start()

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

    def interrupt(self) -> None:
        """End what waits for the shared store, which may not answer: nobody waits for it any more."""
        if self._shared is not None:
            self._shared.interrupt()

    def close(self) -> None:
        """Stop the background threads and close the record. A running merge is dropped, and nothing is lost by that."""
        self._maintenance.close()
        if self._shared is not None:
            self._shared.close()
        self._store.close()

    def get(self, name: object, fingerprint: str | None = None) -> StoredCollection:
        """By its name or an alias. Raises UnknownCollection, or Unavailable while loading and where it is stale.

        An alias that was switched leads to the collection before it for searches of that one's `fingerprint`, so that
        searches by the model before don't fail while it is still serving. Raises UnseenCollection, see there.
        """
        collection = self._find(name, fingerprint)
        if isinstance(collection, Collection) and collection.stale:
            self._maintenance.refresh_later(collection)
            raise Unavailable(f"the collection {collection.info.name} is read again from the record: try again soon")
        return collection

    def _find(self, name: object, fingerprint: str | None = None) -> StoredCollection:
        self.check_ready()
        found = self._known(name, fingerprint) if isinstance(name, str) else None
        if found is None or (isinstance(found, Collection) and found.dropped):
            raise no_collection(name)
        return found

    def _known(self, name: str, fingerprint: str | None) -> StoredCollection | None:
        """An alias in both stores leads to the shared one's: that is how a switch from one to the other is made."""
        collection = self._collections.get(name)
        if collection is not None:
            return collection
        own = self._aliases.resolve(name, fingerprint)
        if self._shared is None:
            return own
        found = self._shared.find(name, fingerprint)
        if found is None and own is None and self._shared.unseen(name):
            raise UnseenCollection(name)
        return found or own

    @property
    def shares(self) -> bool:
        """Whether there is a shared store, which changes of collections may wait for."""
        return self._shared is not None

    def look_again(self, name: str) -> None:
        """Ask the shared store for a collection that `get` hasn't seen. Raises Unavailable."""
        if self._shared is not None:
            self._shared.look_again(name)

    def set_alias(self, name: str, target: object) -> None:
        """Point the alias `name` to the collection `target` at once. Raises UnknownCollection, Conflict."""
        with self._lock:
            collection = self.get(target)
            if self._named(name, collection.info.store) is not None:
                raise Conflict(f"{name} is the name of a collection", param="name")
            aliases = self.aliases()
            if name not in aliases and len(aliases) >= self._settings.max_collections:
                raise Conflict(f"there are {len(aliases)} aliases, the most allowed: delete one first")
            if isinstance(collection, Collection):
                shared = self._shared is not None and name in self._shared.aliases()
                if shared:
                    self.look_again(name)  # nothing is changed while it can't be asked
                self._aliases.set(name, collection)
                if self._shared is not None and shared:
                    self._shared.drop_alias(name)
            elif self._shared is not None:
                self._shared.set_alias(name, collection)
                if name in self._aliases.all():
                    self._aliases.drop(name)

    def drop_alias(self, name: str) -> None:
        """Forget an alias; its collection stays. Raises NotFound."""
        with self._lock:
            own = name in self._aliases.all()
            dropped = self._drop_shared_alias(name, own)
            if own or not dropped:
                self._aliases.drop(name)

    def _drop_shared_alias(self, name: str, own: bool) -> bool:
        """Whether there was one. A shared store that is away keeps no one from dropping an alias of their `own`."""
        if self._shared is None:
            return False
        try:
            return self._shared.drop_alias(name)
        except Unavailable:
            if not own or name in self._shared.aliases():
                raise
            return False

    def aliases(self) -> dict[str, str]:
        """The name of every alias → that of its collection."""
        self.check_ready()
        return {**self._aliases.all(), **({} if self._shared is None else self._shared.aliases())}

    def embedded(self) -> list[Collection]:
        """Every collection of this record, by name."""
        self.check_ready()
        return [collection for _, collection in sorted(self._collections.copy().items())]

    def all(self) -> list[StoredCollection]:
        """Every collection, by name."""
        found: list[StoredCollection] = [*self.embedded(), *([] if self._shared is None else self._shared.all())]
        return sorted(found, key=lambda collection: collection.info.name)

    def missing(self) -> str | None:
        """Why there may be collections that `all` lacks; None where there are none."""
        return None if self._shared is None else self._shared.missing()

    def create(self, info: CollectionInfo, unsaid: Container[str] = ()) -> tuple[StoredCollection, bool]:
        """The collection, and whether it is new. Raises Conflict, FingerprintMismatch when it exists and differs.

        The fields `unsaid`, metric or store, are those that the caller didn't name: one that exists may differ there.
        """
        self.check_ready()
        with self._lock:
            existing = self._existing(info, unsaid)
            if existing is not None:
                return existing, False
            self.check_free(info.name, info.store)
            try:
                return (self._added(info) if info.store == "embedded" else self._store_of(info).create(info)), True
            except Conflict:  # another replica was faster
                existing = self._existing(info, unsaid)
                if existing is None:
                    raise
                return existing, False

    def _existing(self, info: CollectionInfo, unsaid: Container[str]) -> StoredCollection | None:
        """Raises Conflict, FingerprintMismatch when it differs."""
        existing = self._named(info.name, info.store)
        if existing is not None:
            _check_same(existing.info, info, [name for name in _FIXED if name not in unsaid])
        return existing

    def _named(self, name: str, store: StoreName) -> StoredCollection | None:
        """By its own name, not by an alias. For the embedded `store`, a shared one that is away has what it had.

        Raises Unavailable where it had that name before this process began, and was not reached since.
        """
        known: StoredCollection | None = self._collections.get(name)
        if known is None and self._shared is not None:
            with suppress(*((Unavailable,) if store == "embedded" and not self._shared.noted(name) else ())):
                self._shared.look_again(name)
            known = self._shared.find(name)
        return known if known is not None and known.info.name == name else None

    def _store_of(self, info: CollectionInfo) -> CollectionStore:
        if self._shared is None:
            raise InvalidRequest(
                f"the store {info.store} is not there: set CLIPSERVE_INDEX_MILVUS_URI of the index service",
                param="store",
            )
        return self._shared

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

    def check_free(self, name: str, store: StoreName = "embedded") -> None:
        """Raises Conflict when the name is taken or there are too many collections."""
        if name in self.aliases() or self._named(name, store) is not None:
            raise Conflict(f"there is a collection or an alias {name} already", param="name")
        if len(self.all()) >= self._settings.max_collections:
            raise Conflict(f"there are {len(self.all())} collections, the most allowed: delete one first")

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

    def restore(self, info: CollectionInfo, items: Iterable[list[StoredItem]]) -> StoredCollection:
        """A new collection of the shared store that appears with all its items, or not at all. Raises Conflict."""
        return self._store_of(info).restore(info, items)

    def held(self, collection: StoredCollection) -> bool:
        """Whether another replica holds writes to it back; never waits."""
        shared = None if collection.info.store == "embedded" else self._shared
        return shared is not None and shared.held(collection.info.name)

    def known_at(self, collection: StoredCollection) -> float:
        """As of when it is known whether another replica holds writes to it back, as `time.monotonic()`."""
        shared = None if collection.info.store == "embedded" else self._shared
        return time.monotonic() if shared is None else shared.known_at()

    def in_time(self, collection: StoredCollection, known_at: float) -> bool:
        """Whether a write that ends now, and began with what was known then, was overlooked by no hold."""
        shared = None if collection.info.store == "embedded" else self._shared
        return shared is None or time.monotonic() - known_at <= shared.in_time_s

    def hold(self, collection: StoredCollection, seconds: float, owner: str) -> float:
        """Have all other replicas hold writes to it back; the seconds after which they do. Nobody shares our record."""
        info = collection.info
        return 0.0 if info.store == "embedded" else self._store_of(info).hold(info.name, seconds, owner)

    def release(self, collection: StoredCollection) -> None:
        """End a hold."""
        if collection.info.store != "embedded":
            self._store_of(collection.info).release(collection.info.name)

    def drop(self, name: str) -> None:
        """Delete a collection with all its items. Raises UnknownCollection; Conflict while an alias leads to it."""
        with self._lock:
            collection = self._find(name)
            held = [alias for alias, target in self.aliases().items() if target == collection.info.name]
            if held:
                raise Conflict(f"the alias {held[0]} leads to {collection.info.name}: switch or delete it first")
            if not isinstance(collection, Collection):
                self._store_of(collection.info).drop(name)
                return
            try:
                collection.drop()
            finally:
                if collection.dropped:
                    del self._collections[name]
                    self._aliases.forget(collection)

    def written(self, collection: StoredCollection) -> None:
        """To be called after each write: a merge or a sealing may be due."""
        if collection.info.store == "embedded":
            self._maintenance.written(cast(Collection, collection))

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
