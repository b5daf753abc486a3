"""What there is in Milvus, by the names that callers know: looked at every second, and at once when somebody asks."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from clip_core.errors import StorageFull, Unavailable
from index_service.collection.noted_names import NotedNames
from index_service.milvus.catalogue.holds import held_until
from index_service.milvus.catalogue.making import CollectionMaker, described
from index_service.milvus.collection import MilvusCollection, MilvusLimits
from index_service.milvus.rpc import MilvusRefusal, MilvusRpc, messages
from index_service.milvus.schema import Names, read_info
from index_service.record.records import CollectionInfo

_log = logging.getLogger("index_service.milvus")
_LOOK_S = 5.0  # for one call of a look
_IDLE, _LONGEST = 20, 5  # times as long as a look took, before the next; of the pause that is asked for, at most
_ABSENT_S = 0.1  # a name that isn't there is not looked for again so long


@dataclass(frozen=True)
class KnownCatalogue:
    """What is there, as of one look: by the names that callers know."""

    collections: dict[str, MilvusCollection] = field(default_factory=dict)
    aliases: dict[str, tuple[MilvusCollection, ...]] = field(default_factory=dict)
    held: dict[str, float] = field(default_factory=dict)  # until when, as `time.time()`

    def find(self, name: str, fingerprint: str | None) -> MilvusCollection | None:
        """By its name, or an alias: of what that leads and led to, the one of this fingerprint."""
        found = self.collections.get(name)
        if found is not None:
            return found
        targets = self.aliases.get(name, ())
        fitting = (target for target in targets if fingerprint in (None, target.info.fingerprint))
        return next(fitting, targets[0] if targets else None)


class CatalogueWatcher:
    """Looks in a thread from `start` to `stop`; `known` is what the last look saw."""

    def __init__(
        self,
        rpc: MilvusRpc,
        names: Names,
        limits: MilvusLimits,
        maker: CollectionMaker,
        look_s: float,
        notes: NotedNames,
        looked: Callable[[Iterable[str]], None],
    ) -> None:
        """`looked` is called by each look with the names of all collections in Milvus."""
        self._rpc, self._names, self._limits, self._maker, self._look_s = rpc, names, limits, maker, look_s
        self._notes, self._looked = notes, looked
        self.known, self.pause_s = KnownCatalogue(), look_s
        self.known_at = -math.inf  # when the last look began, as `time.monotonic()`
        self._looking, self._looks = threading.Lock(), 0  # the latter: how many have ended
        self._absent: dict[str, float] = {}
        self._away: str | None = None  # why
        self._left_alone: set[str] = set()  # what has a name of ours, and can't be read
        self._unfinished: set[str] = set()  # what may not be loaded
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="index-milvus", daemon=True)

    def start(self) -> None:
        """Look from now on."""
        self._thread.start()

    def interrupt(self) -> None:
        """Begin no other look."""
        self._stopped.set()

    def stop(self) -> None:
        """End the thread, or leave it to its call that hangs."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join(2 * self._look_s)

    def _follow(self) -> None:
        while True:
            started = time.monotonic()
            self._try_look()
            slow_s = min(_IDLE * (time.monotonic() - started), _LONGEST * self._look_s)
            self.pause_s = max(self._look_s, slow_s)
            if self._stopped.wait(self.pause_s):
                return

    def _try_look(self) -> None:
        """Nothing that happens to one look ends the later ones."""
        try:
            self.look()
        except Exception as error:
            if self._away is None:
                _log.warning("milvus is away", extra={"error": str(error)})
            self._away = str(error)

    def look(self) -> None:
        """Read all names again, or wait for another thread that began to after this call. Raises Unavailable."""
        before = self._looks
        with self._looking:
            if self._looks > before + 1:
                return
            began = time.monotonic()
            answer = self._rpc.alone("ShowCollections", messages().ShowCollectionsRequest(), max(self._look_s, _LOOK_S))
            ours = [there for there in answer.collection_names if (self._names.read(there) or "-")[0] == "c"]
            self._left_alone &= {*ours}
            self._unfinished = {*ours} if self._rpc.met_unloaded() else self._unfinished & {*ours}
            self.known = self._read({there: self._described(there) for there in ours})
            if self._away is not None:
                _log.info("milvus is back")
            self._away, self._looks, self.known_at = None, self._looks + 1, began
            self._notes.note({*self.known.collections, *self.known.aliases})
            self._looked(answer.collection_names)

    def _described(self, there: str) -> Any:
        """None for one that Milvus does not show: the others are read all the same."""
        try:
            return described(self._rpc, there)
        except MilvusRefusal as error:
            self._leave_alone(there, str(error))
            return None

    def _leave_alone(self, there: str, why: str) -> None:
        if there not in self._left_alone:
            _log.warning("milvus collection left alone", extra={"milvus_collection": there, "why": why})
            self._left_alone.add(there)

    def _read(self, found: dict[str, Any]) -> KnownCatalogue:
        collections: dict[str, MilvusCollection] = {}
        targets: dict[tuple[str, str], MilvusCollection] = {}
        held: dict[str, float] = {}
        for there, about in found.items():
            collection = None if about is None else self._collection(there, about)
            if collection is not None:
                collections[collection.info.name] = collection
                held[collection.info.name] = held_until(self._names, about.aliases)
                names = map(self._names.read, about.aliases)
                targets |= {name: collection for name in names if name is not None}
        aliases = {
            name: tuple(dict.fromkeys(filter(None, (target, targets.get(("p", name))))))
            for (kind, name), target in targets.items()
            if kind == "a"
        }
        return KnownCatalogue(collections, aliases, held)

    def _collection(self, there: str, about: Any) -> MilvusCollection | None:
        """The same object as before where it is the same collection: it knows what this process wrote."""
        _, name = self._names.read(there) or ("", "")
        info = read_info(name, about.schema, about.collectionID)
        if info is None:
            self._leave_alone(there, "it is of another form")
            return None
        self._left_alone.discard(there)
        known = self.known.collections.get(name)
        if known is None or known.info != info:
            known = MilvusCollection(info, there, self._rpc, self._limits)
            self._unfinished.add(there)
        if there in self._unfinished:
            self._try_to_finish(there, info)
        return known

    def _try_to_finish(self, there: str, info: CollectionInfo) -> None:
        """What can't be loaded is tried again by the next look. Its own calls say so, too; the others' are answered."""
        try:
            self._maker.finish(there, info)
            self._unfinished.discard(there)
        except (MilvusRefusal, StorageFull) as error:
            _log.warning("milvus collection is not loaded", extra={"milvus_collection": there, "why": str(error)})

    def noted(self, name: str) -> bool:
        """See `CollectionStore.noted`."""
        return not self._looks and name in self._notes.names

    def missing(self) -> str | None:
        """See `CollectionStore.missing`."""
        if self._away is not None:
            return self._away
        if not self._looks:
            return "Milvus was not asked yet"
        alone = sorted(self._left_alone)
        return f"{len(alone)} collections in Milvus can't be read, such as {alone[0]}" if alone else None

    def unseen(self, name: str) -> bool:
        """See `CollectionStore.unseen`."""
        self.check_there()
        return time.monotonic() - self._absent.get(name, -_ABSENT_S) >= _ABSENT_S

    def look_again(self, name: str) -> None:
        """See `CollectionStore.look_again`. While Milvus is known to be away, nobody waits for it."""
        self.check_there()
        try:
            self.look()
        except Unavailable as error:
            self._away = str(error)
            raise
        if self.known.find(name, None) is None:
            now = time.monotonic()
            self._absent = {old: at for old, at in self._absent.items() if now - at < _ABSENT_S} | {name: now}

    def check_there(self) -> None:
        """Raises Unavailable where Milvus is known to be away, and is asked again in the background."""
        if self._away is not None and self._thread.is_alive():
            raise Unavailable(self._away)
