"""Collections that appear with all their items, or not at all: filled under a hidden name, then renamed.

A lease keeps one that is still being filled. What a maker that died left behind is dropped when its lease has ended.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace

import numpy as np

from clip_core.errors import ClipServeError
from index_service.milvus.catalogue.holds import held_until, hold, release
from index_service.milvus.catalogue.making import CollectionMaker, described, free
from index_service.milvus.collection import MilvusCollection, MilvusLimits
from index_service.milvus.rpc import MilvusRpc, messages
from index_service.milvus.schema import Names
from index_service.record.records import CollectionInfo, StoredItem

_log = logging.getLogger("index_service.milvus")
LEASE_S = 3600.0


class FillLease:
    """Of the collection called `there`, whose name is new: a hold of its writes, and its name for the first hour."""

    def __init__(self, rpc: MilvusRpc, names: Names, there: str) -> None:
        self._rpc, self._names, self._there = rpc, names, there
        self._until = time.monotonic() + LEASE_S

    def keep(self) -> None:
        """To be called now and then."""
        if time.monotonic() > self._until - LEASE_S / 2:
            hold(self._rpc, self._names, self._there, LEASE_S)
            self._until = time.monotonic() + LEASE_S

    def end(self) -> None:
        """It is filled."""
        release(self._rpc, self._names, self._there)


class CollectionFiller:
    """Of one Milvus server, under the names of one prefix."""

    def __init__(self, rpc: MilvusRpc, names: Names, maker: CollectionMaker, limits: MilvusLimits) -> None:
        self._rpc, self._names, self._maker = rpc, names, maker
        self._limits = replace(limits, settle_s=0.0)  # nobody follows what has no name yet

    def fill(self, info: CollectionInfo, items: Iterable[list[StoredItem]]) -> None:
        """A new collection with these items. Raises Conflict where its name is taken at the end."""
        hidden, target = new_name(self._names), self._names.collection(info.name)
        self._maker.make(hidden, info)
        lease = FillLease(self._rpc, self._names, hidden)
        try:
            self._write(MilvusCollection(info, hidden, self._rpc, self._limits), items, lease)
            lease.end()
            with free(info.name):
                self._rpc.call("RenameCollection", messages().RenameCollectionRequest(oldName=hidden, newName=target))
        except BaseException:
            with suppress(ClipServeError):
                lease.end()
                self._maker.drop(hidden)
            raise

    @staticmethod
    def _write(copy: MilvusCollection, items: Iterable[list[StoredItem]], lease: FillLease) -> None:
        for some in items:
            raw = b"".join(item.vector for item in some)
            copy.upsert(some, np.frombuffer(raw, "<f4").astype(np.float32).reshape(len(some), copy.info.dim))
            lease.keep()

    def drop_lapsed(self, there: Iterable[str]) -> None:
        """Of these names, the collections whose maker died while they were filled."""
        for each in there:
            if is_old(self._names, each):
                with suppress(ClipServeError):
                    self._drop_where_lapsed(each)

    def _drop_where_lapsed(self, there: str) -> None:
        known = described(self._rpc, there)
        if known is not None and held_until(self._names, known.aliases) < time.time():
            _log.warning("milvus collection that was never finished is dropped", extra={"milvus_collection": there})
            release(self._rpc, self._names, there)
            self._maker.drop(there)


def new_name(names: Names) -> str:
    """In Milvus, of a collection to be filled from now on."""
    return names.hidden(f"{round(time.time() * 1e3)}-{uuid.uuid4().hex}")


def is_old(names: Names, there: str) -> bool:
    """Whether it is hidden, and was made so long ago that only a hold keeps it."""
    kind, name = names.read(there) or ("", "")
    made = name.partition("-")[0]
    return kind == "h" and made.isdecimal() and int(made) / 1e3 + LEASE_S < time.time()
