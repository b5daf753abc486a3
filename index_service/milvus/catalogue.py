"""Collections and aliases that are in Milvus, under the names that callers know.

All of it is Milvus' own: a collection's settings are in its schema, an alias is an alias, and where it led before is a
second one. What a replica knows of it is read again every second, and at once when a caller names what isn't known.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from clip_core.errors import ClipServeError, Conflict, NotFound, StorageFull, Unavailable, UnknownCollection
from index_service.collection.noted_names import NotedNames
from index_service.collection.stored import StoredCollection
from index_service.milvus.collection import MilvusCollection, MilvusLimits
from index_service.milvus.holds import FillLease, held_until, hold, is_old, new_name, of_others, release
from index_service.milvus.rpc import MilvusRefusal, MilvusRpc, messages, wait_until
from index_service.milvus.schema import ENGINES, Names, check_engine, create_request, index_request, read_info
from index_service.record.records import CollectionInfo, StoredItem

_log = logging.getLogger("index_service.milvus")
_MADE_S = 60.0  # until a new collection is loaded
_LOOK_S = 5.0  # for one call of a look
_IDLE, _LONGEST = 20, 5  # times as long as a look took, before the next; of the pause that is asked for, at most
_ABSENT_S = 0.1  # a name that isn't there is not looked for again so long


@dataclass(frozen=True)
class MadeWith:
    """How new collections are made: their graphs, shards, and copies in memory."""

    m: int = 32
    ef_construction: int = 200
    shards: int = 1
    replicas: int = 1


@dataclass(frozen=True)
class _Known:
    """What is there, as of one look: by the names that callers know."""

    collections: dict[str, MilvusCollection] = field(default_factory=dict)
    aliases: dict[str, tuple[MilvusCollection, ...]] = field(default_factory=dict)
    held: dict[str, float] = field(default_factory=dict)  # until when, as `time.time()`


class MilvusCatalogue:
    """The `CollectionStore` of one Milvus server. Call `start()` first, `close()` last."""

    def __init__(
        self,
        rpc: MilvusRpc,
        prefix: str,
        limits: MilvusLimits,
        built: MadeWith,
        look_s: float = 1.0,
        notes: Path | None = None,
    ) -> None:
        """`notes` is the file in which names are noted for the next process."""
        self._rpc, self._names, self._limits, self._built, self._look_s = rpc, Names(prefix), limits, built, look_s
        self._known, self._looking, self._pause_s = _Known(), threading.Lock(), look_s
        self._absent: dict[str, float] = {}
        self._notes = NotedNames(notes)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="index-milvus", daemon=True)
        self._away: str | None = None  # why
        self._looks = 0  # that have ended
        self._known_at = -math.inf  # when the last of these began, as `time.monotonic()`
        self._left_alone: set[str] = set()  # what has a name of ours, and can't be read
        self._unfinished: set[str] = set()  # what may not be loaded

    def start(self) -> None:
        """See `CollectionStore.start`."""
        self._thread.start()

    def interrupt(self) -> None:
        """See `CollectionStore.interrupt`."""
        self._stopped.set()
        self._rpc.close()

    def close(self) -> None:
        """See `CollectionStore.close`."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join(2 * self._look_s)
        self._rpc.close()

    def _follow(self) -> None:
        while True:
            started = time.monotonic()
            self._try_look()
            slow_s = min(_IDLE * (time.monotonic() - started), _LONGEST * self._look_s)
            self._pause_s = max(self._look_s, slow_s)
            if self._stopped.wait(self._pause_s):
                return

    def _try_look(self) -> None:
        """Nothing that happens to one look ends the later ones."""
        try:
            self.look()
        except Exception as error:
            if self._away is None:
                _log.warning("milvus is away", extra={"error": str(error)})
            self._away = str(error)

    # what there is

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
            self._known = self._read({there: self._looked_at(there) for there in ours})
            if self._away is not None:
                _log.info("milvus is back")
            self._away, self._looks, self._known_at = None, self._looks + 1, began
            self._notes.note({*self._known.collections, *self._known.aliases})
            for there in answer.collection_names:
                if is_old(self._names, there):
                    self._drop_lapsed(there)

    def _described(self, there: str) -> Any:
        """None where it was dropped meanwhile."""
        with suppress(UnknownCollection):
            return self._rpc.call("DescribeCollection", messages().DescribeCollectionRequest(collection_name=there))
        return None

    def _looked_at(self, there: str) -> Any:
        """As `_described`; None for one that Milvus does not show, too: the others are read all the same."""
        try:
            return self._described(there)
        except MilvusRefusal as error:
            self._leave_alone(there, str(error))
            return None

    def _leave_alone(self, there: str, why: str) -> None:
        if there not in self._left_alone:
            _log.warning("milvus collection left alone", extra={"milvus_collection": there, "why": why})
            self._left_alone.add(there)

    def _read(self, found: dict[str, Any]) -> _Known:
        collections: dict[str, MilvusCollection] = {}
        targets: dict[tuple[str, str], MilvusCollection] = {}
        held: dict[str, float] = {}
        for there, described in found.items():
            collection = None if described is None else self._collection(there, described)
            if collection is not None:
                collections[collection.info.name] = collection
                held[collection.info.name] = held_until(self._names, described.aliases)
                names = map(self._names.read, described.aliases)
                targets |= {name: collection for name in names if name is not None}
        aliases = {
            name: tuple(dict.fromkeys(filter(None, (target, targets.get(("p", name))))))
            for (kind, name), target in targets.items()
            if kind == "a"
        }
        return _Known(collections, aliases, held)

    def _collection(self, there: str, described: Any) -> MilvusCollection | None:
        """The same object as before where it is the same collection: it knows what this process wrote."""
        _, name = self._names.read(there) or ("", "")
        info = read_info(name, described.schema, described.collectionID)
        if info is None:
            self._leave_alone(there, "it is of another form")
            return None
        self._left_alone.discard(there)
        known = self._known.collections.get(name)
        if known is None or known.info != info:
            known = MilvusCollection(info, there, self._rpc, self._limits)
            self._unfinished.add(there)
        if there in self._unfinished:
            self._try_to_finish(there, info)
        return known

    def _try_to_finish(self, there: str, info: CollectionInfo) -> None:
        """What can't be loaded is tried again by the next look. Its own calls say so, too; the others' are answered."""
        try:
            self._finish(there, info)
            self._unfinished.discard(there)
        except (MilvusRefusal, StorageFull) as error:
            _log.warning("milvus collection is not loaded", extra={"milvus_collection": there, "why": str(error)})

    def _finish(self, there: str, info: CollectionInfo) -> None:
        """Index and load a collection whose maker died, or that somebody released."""
        state = self._rpc.call("GetLoadState", messages().GetLoadStateRequest(collection_name=there)).state
        if state == messages("common").LoadState.Value("LoadStateNotLoad"):
            with suppress(MilvusRefusal):  # it has its index
                self._rpc.call("CreateIndex", index_request(there, info, self._built.m, self._built.ef_construction))
            self._rpc.call("LoadCollection", self._load_request(there))

    def _load_request(self, there: str) -> Any:
        return messages().LoadCollectionRequest(collection_name=there, replica_number=self._built.replicas)

    def find(self, name: str, fingerprint: str | None = None) -> StoredCollection | None:
        """See `CollectionStore.find`."""
        known = self._known
        found = known.collections.get(name)
        if found is not None:
            return found
        targets = known.aliases.get(name, ())
        fitting = (target for target in targets if fingerprint in (None, target.info.fingerprint))
        return next(fitting, targets[0] if targets else None)

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
        self._check_there()
        return time.monotonic() - self._absent.get(name, -_ABSENT_S) >= _ABSENT_S

    def look_again(self, name: str) -> None:
        """See `CollectionStore.look_again`. While Milvus is known to be away, nobody waits for it."""
        self._check_there()
        try:
            self.look()
        except Unavailable as error:
            self._away = str(error)
            raise
        if self.find(name) is None:
            now = time.monotonic()
            self._absent = {old: at for old, at in self._absent.items() if now - at < _ABSENT_S} | {name: now}

    def _check_there(self) -> None:
        """Raises Unavailable where Milvus is known to be away, and is asked again in the background."""
        if self._away is not None and self._thread.is_alive():
            raise Unavailable(self._away)

    def all(self) -> list[StoredCollection]:
        """See `CollectionStore.all`."""
        return list(self._known.collections.values())

    def aliases(self) -> dict[str, str]:
        """See `CollectionStore.aliases`."""
        return {name: targets[0].info.name for name, targets in sorted(self._known.aliases.items())}

    # changes

    def create(self, info: CollectionInfo) -> StoredCollection:
        """See `CollectionStore.create`."""
        check_engine(info)
        self._make(self._names.collection(info.name), info)
        return self._made(info)

    def _make(self, there: str, info: CollectionInfo) -> None:
        """Create, index and load; or drop what is half made. Where this process dies, `_finish` goes on."""
        with _free(info.name):
            self._rpc.call("CreateCollection", create_request(there, info, self._built.shards))
        try:
            self._rpc.call("CreateIndex", index_request(there, info, self._built.m, self._built.ef_construction))
            self.load(there)
        except BaseException:
            with suppress(ClipServeError):
                self._drop(there)
            raise

    def load(self, there: str) -> None:
        """Have Milvus load a collection, and wait until it has."""
        self._rpc.call("LoadCollection", self._load_request(there))
        asked = messages().GetLoadStateRequest(collection_name=there)
        loaded = messages("common").LoadState.Value("LoadStateLoaded")
        wait_until(lambda: self._rpc.call("GetLoadState", asked).state == loaded, _MADE_S, "load the collection")

    def _made(self, info: CollectionInfo) -> StoredCollection:
        self.look()
        found = self._known.collections.get(info.name)
        if found is None:
            raise UnknownCollection(f"the collection {info.name} was deleted meanwhile", param="collection")
        return found

    def restore(self, info: CollectionInfo, items: Iterable[list[StoredItem]]) -> StoredCollection:
        """See `CollectionStore.restore`. What had an engine that is only in the other store has `auto` here."""
        info = info if info.engine in ENGINES else replace(info, engine="auto")
        hidden, target = new_name(self._names), self._names.collection(info.name)
        self._make(hidden, info)
        lease = FillLease(self._rpc, self._names, hidden)
        try:
            copy = MilvusCollection(info, hidden, self._rpc, replace(self._limits, settle_s=0.0))  # nobody follows it
            for some in items:
                raw = b"".join(item.vector for item in some)
                copy.upsert(some, np.frombuffer(raw, "<f4").astype(np.float32).reshape(len(some), info.dim))
                lease.keep()
            lease.end()
            with _free(info.name):
                self._rpc.call("RenameCollection", messages().RenameCollectionRequest(oldName=hidden, newName=target))
        except BaseException:
            with suppress(ClipServeError):
                lease.end()
                self._drop(hidden)
            raise
        return self._made(info)

    def _drop_lapsed(self, there: str) -> None:
        """A collection whose maker died while it was filled."""
        with suppress(ClipServeError):
            described = self._described(there)
            if described is not None and held_until(self._names, described.aliases) < time.time():
                _log.warning("milvus collection that was never finished is dropped", extra={"milvus_collection": there})
                release(self._rpc, self._names, there)
                self._drop(there)

    def drop(self, name: str) -> None:
        """See `CollectionStore.drop`: aliases that lead there no more, but did before, go with it, and holds.

        Raises Conflict.
        """
        there = self._names.collection(name)
        described = self._described(there)
        aliases = {} if described is None else {alias: self._names.read(alias) for alias in described.aliases}
        for kind, called in filter(None, aliases.values()):
            if kind == "a":  # since another replica set it just now
                raise Conflict(f"the alias {called} leads to {name}: switch or delete it first")
        for alias, read in aliases.items():
            if read is not None and read[0] in ("p", "w"):
                self._drop_alias(alias)
        self._drop(there)
        self.look()

    def _drop(self, there: str) -> None:
        self._rpc.call("DropCollection", messages().DropCollectionRequest(collection_name=there))

    def held(self, name: str) -> bool:
        """See `CollectionStore.held`."""
        return self._known.held.get(name, 0.0) > time.time()

    def hold(self, name: str, seconds: float, owner: str) -> float:
        """See `CollectionStore.hold`: another replica, if there may be one, looks within two pauses."""
        self._check_there()
        there = self._names.collection(name)
        described = self._described(there)
        others = of_others(self._names, () if described is None else described.aliases, owner)
        if held_until(self._names, others) > time.time():
            raise Conflict(f"something else holds the writes to {name}: wait until it is done, a minute at most")
        hold(self._rpc, self._names, there, seconds, owner)
        self.look()
        settle_s = self._limits.settle_s  # in which its writes of before end
        return 2 * self._pause_s + settle_s if settle_s else 0.0

    def known_at(self) -> float:
        """See `CollectionStore.known_at`."""
        return self._known_at

    @property
    def in_time_s(self) -> float:
        """See `CollectionStore.in_time_s`: less than `hold` waits at any replica."""
        return 2 * self._look_s + self._limits.settle_s if self._limits.settle_s else math.inf

    def release(self, name: str) -> None:
        """See `CollectionStore.release`."""
        release(self._rpc, self._names, self._names.collection(name))
        self.look()

    def set_alias(self, name: str, target: StoredCollection) -> None:
        """See `CollectionStore.set_alias`."""
        self.look()
        before = next((old for old in self._known.aliases.get(name, ()) if old.info.name != target.info.name), None)
        if before is not None:
            self._point(self._names.previous(name), before.there)
        self._point(self._names.alias(name), self._names.collection(target.info.name))
        self.look()

    def _point(self, alias: str, there: str) -> None:
        """Make the alias, or change where it leads to, at once."""
        milvus = messages()
        try:
            self._rpc.call("AlterAlias", milvus.AlterAliasRequest(alias=alias, collection_name=there))
        except (MilvusRefusal, NotFound):  # there is none
            self._rpc.call("CreateAlias", milvus.CreateAliasRequest(alias=alias, collection_name=there))

    def drop_alias(self, name: str) -> bool:
        """See `CollectionStore.drop_alias`."""
        self._check_there()
        if name not in self._known.aliases:
            self.look()
        there = name in self._known.aliases
        if there:
            for alias in (self._names.alias(name), self._names.previous(name)):
                self._drop_alias(alias)
            self.look()
        return there

    def _drop_alias(self, alias: str) -> None:
        with suppress(MilvusRefusal, NotFound):  # it is gone
            self._rpc.call("DropAlias", messages().DropAliasRequest(alias=alias))


@contextmanager
def _free(name: str) -> Iterator[None]:
    """Around what gives a collection its name. Raises Conflict where that is taken, though it is not shown here."""
    try:
        yield
    except MilvusRefusal as error:
        if "already exist" in str(error) or "duplicate" in str(error):
            raise Conflict(
                f"Milvus has a collection {name} already: another replica made it just now, or it is of another form",
                param="name",
            ) from error
        raise
