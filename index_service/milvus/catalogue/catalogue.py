"""Collections and aliases that are in Milvus, under the names that callers know.

All of it is Milvus' own: a collection's settings are in its schema, an alias is an alias, and where it led before is a
second one. What a replica knows of it is read again every second, and at once when a caller names what isn't known.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from clip_core.errors import Conflict, UnknownCollection
from index_service.collection.noted_names import NotedNames
from index_service.collection.stored import StoredCollection
from index_service.milvus.catalogue.aliases import drop_alias, point_alias
from index_service.milvus.catalogue.filling import CollectionFiller
from index_service.milvus.catalogue.holds import held_until, hold, of_others, release
from index_service.milvus.catalogue.making import CollectionMaker, MadeWith, described
from index_service.milvus.catalogue.watching import CatalogueWatcher
from index_service.milvus.collection import MilvusLimits
from index_service.milvus.rpc import MilvusRpc
from index_service.milvus.schema import ENGINES, Names, check_engine
from index_service.record.records import CollectionInfo, StoredItem


class MilvusCatalogue:
    """The `CollectionStore` of one Milvus server. Call `start()` first, `close()` last."""

    def __init__(
        self,
        rpc: MilvusRpc,
        prefix: str,
        limits: MilvusLimits,
        built: MadeWith,
        look_s: float,
        notes: Path | None,
    ) -> None:
        """`notes` is the file in which names are noted for the next process."""
        self._rpc, self._names, self._limits, self._look_s = rpc, Names(prefix), limits, look_s
        self._maker = maker = CollectionMaker(rpc, built)
        self._filler = CollectionFiller(rpc, self._names, maker, limits)
        self._watcher = CatalogueWatcher(
            rpc, self._names, limits, maker, look_s, NotedNames(notes), self._filler.drop_lapsed
        )

    def start(self) -> None:
        """See `CollectionStore.start`."""
        self._watcher.start()

    def interrupt(self) -> None:
        """See `CollectionStore.interrupt`."""
        self._watcher.interrupt()
        self._rpc.close()

    def close(self) -> None:
        """See `CollectionStore.close`."""
        self._watcher.stop()
        self._rpc.close()

    # what there is

    def look(self) -> None:
        """Read all names again. Raises Unavailable."""
        self._watcher.look()

    def find(self, name: str, fingerprint: str | None = None) -> StoredCollection | None:
        """See `CollectionStore.find`."""
        return self._watcher.known.find(name, fingerprint)

    def noted(self, name: str) -> bool:
        """See `CollectionStore.noted`."""
        return self._watcher.noted(name)

    def missing(self) -> str | None:
        """See `CollectionStore.missing`."""
        return self._watcher.missing()

    def unseen(self, name: str) -> bool:
        """See `CollectionStore.unseen`."""
        return self._watcher.unseen(name)

    def look_again(self, name: str) -> None:
        """See `CollectionStore.look_again`."""
        self._watcher.look_again(name)

    def all(self) -> list[StoredCollection]:
        """See `CollectionStore.all`."""
        return list(self._watcher.known.collections.values())

    def aliases(self) -> dict[str, str]:
        """See `CollectionStore.aliases`."""
        return {name: targets[0].info.name for name, targets in sorted(self._watcher.known.aliases.items())}

    # collections

    def create(self, info: CollectionInfo) -> StoredCollection:
        """See `CollectionStore.create`."""
        check_engine(info)
        self._maker.make(self._names.collection(info.name), info)
        return self._made(info)

    def restore(self, info: CollectionInfo, items: Iterable[list[StoredItem]]) -> StoredCollection:
        """See `CollectionStore.restore`. What had an engine that is only in the other store has `auto` here."""
        info = info if info.engine in ENGINES else replace(info, engine="auto")
        self._filler.fill(info, items)
        return self._made(info)

    def _made(self, info: CollectionInfo) -> StoredCollection:
        self.look()
        found = self._watcher.known.collections.get(info.name)
        if found is None:
            raise UnknownCollection(f"the collection {info.name} was deleted meanwhile", param="collection")
        return found

    def drop(self, name: str) -> None:
        """See `CollectionStore.drop`: aliases that lead there no more, but did before, go with it, and holds.

        Raises Conflict.
        """
        there = self._names.collection(name)
        about = described(self._rpc, there)
        aliases = {} if about is None else {alias: self._names.read(alias) for alias in about.aliases}
        for kind, called in filter(None, aliases.values()):
            if kind == "a":  # since another replica set it just now
                raise Conflict(f"the alias {called} leads to {name}: switch or delete it first")
        for alias, read in aliases.items():
            if read is not None and read[0] in ("p", "w"):
                drop_alias(self._rpc, alias)
        self._maker.drop(there)
        self.look()

    # holds

    def held(self, name: str) -> bool:
        """See `CollectionStore.held`."""
        return self._watcher.known.held.get(name, 0.0) > time.time()

    def hold(self, name: str, seconds: float, owner: str) -> float:
        """See `CollectionStore.hold`: another replica, if there may be one, looks within two pauses."""
        self._watcher.check_there()
        there = self._names.collection(name)
        about = described(self._rpc, there)
        others = of_others(self._names, () if about is None else about.aliases, owner)
        if held_until(self._names, others) > time.time():
            raise Conflict(f"something else holds the writes to {name}: wait until it is done, a minute at most")
        hold(self._rpc, self._names, there, seconds, owner)
        self.look()
        settle_s = self._limits.settle_s  # in which its writes of before end
        return 2 * self._watcher.pause_s + settle_s if settle_s else 0.0

    def release(self, name: str) -> None:
        """See `CollectionStore.release`."""
        release(self._rpc, self._names, self._names.collection(name))
        self.look()

    def known_at(self) -> float:
        """See `CollectionStore.known_at`."""
        return self._watcher.known_at

    @property
    def in_time_s(self) -> float:
        """See `CollectionStore.in_time_s`: less than `hold` waits at any replica."""
        return 2 * self._look_s + self._limits.settle_s if self._limits.settle_s else math.inf

    # aliases

    def set_alias(self, name: str, target: StoredCollection) -> None:
        """See `CollectionStore.set_alias`."""
        self.look()
        targets = self._watcher.known.aliases.get(name, ())
        before = next((old for old in targets if old.info.name != target.info.name), None)
        if before is not None:
            point_alias(self._rpc, self._names.previous(name), before.there)
        point_alias(self._rpc, self._names.alias(name), self._names.collection(target.info.name))
        self.look()

    def drop_alias(self, name: str) -> bool:
        """See `CollectionStore.drop_alias`."""
        self._watcher.check_there()
        if name not in self._watcher.known.aliases:
            self.look()
        there = name in self._watcher.known.aliases
        if there:
            for alias in (self._names.alias(name), self._names.previous(name)):
                drop_alias(self._rpc, alias)
            self.look()
        return there
