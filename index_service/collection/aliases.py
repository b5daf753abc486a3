"""Second names of collections, which are pointed elsewhere at once: a collection is replaced while it is used."""

from __future__ import annotations

from collections.abc import Iterable

from clip_core.errors import NotFound
from index_service.collection.collection import Collection
from index_service.record.store import Alias, Store


class Aliases:
    """Recorded before they count. A switch replaces one entry of a dictionary, so a search sees the old or the new."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._targets: dict[str, tuple[Collection, ...]] = {}

    def load(self, collections: Iterable[Collection]) -> None:
        """Read them from the record."""
        by_key = {collection.info.key: collection for collection in collections}
        for alias in self._store.aliases():
            self._targets[alias.name] = tuple(by_key[key] for key in (alias.key, alias.previous) if key is not None)

    def resolve(self, name: str, fingerprint: str | None) -> Collection | None:
        """The collection, or the one before it when only that holds vectors of the model `fingerprint`."""
        targets = self._targets.get(name, ())
        fitting = (target for target in targets if fingerprint in (None, target.info.fingerprint))
        return next(fitting, targets[0] if targets else None)

    def all(self) -> dict[str, str]:
        """Alias → collection, by name."""
        return {name: targets[0].info.name for name, targets in sorted(self._targets.items())}

    def set(self, name: str, target: Collection) -> None:
        """Point `name` to `target`; the collection that it led to is remembered."""
        before = [old for old in self._targets.get(name, ()) if old is not target][:1]
        targets = (target, *before)
        self._store.set_alias(Alias(name, target.info.key, before[0].info.key if before else None))
        self._targets[name] = targets  # nothing can fail between the record and this

    def drop(self, name: str) -> None:
        """Raises NotFound."""
        if name not in self._targets:
            raise NotFound(f"there is no alias {name!r}", param="name")
        self._store.drop_alias(name)
        del self._targets[name]

    def forget(self, collection: Collection) -> None:
        """A collection that no alias leads to any more was deleted."""
        self._targets = {
            name: tuple(target for target in targets if target is not collection)
            for name, targets in self._targets.items()
        }
