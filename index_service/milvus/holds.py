"""Collections in Milvus whose writes are held back, as aliases that say until when: replicas share nothing else.

So are those that are still being filled, under names that nobody knows: what its maker left behind is dropped.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable
from contextlib import suppress
from hashlib import blake2b

from clip_core.errors import NotFound
from index_service.milvus.rpc import MilvusRefusal, MilvusRpc, messages
from index_service.milvus.schema import Names

LEASE_S = 3600.0  # of a collection that is being filled


def held_until(names: Names, aliases: Iterable[str]) -> float:
    """The time, as `time.time()`, until which a collection with these aliases in Milvus is held; 0 where it is not."""
    read = (names.read(alias) for alias in aliases)
    until = (text.partition("-")[0] for kind, text in filter(None, read) if kind == "w")
    return max((int(ms) / 1e3 for ms in until if ms.isdecimal()), default=0.0)


def of_others(names: Names, aliases: Iterable[str], owner: str) -> list[str]:
    """Those that aren't holds of this owner."""
    own = f"-{_digest(owner)}"
    return [alias for alias in aliases if not (names.read(alias) or ("", ""))[1].endswith(own)]


def hold(rpc: MilvusRpc, names: Names, there: str, seconds: float, owner: str = "") -> None:
    """Hold the writes of the collection called `there` back. The clocks of all replicas must agree."""
    until = f"{round((time.time() + seconds) * 1e3)}-{_digest(owner or uuid.uuid4().hex)}"
    rpc.call("CreateAlias", messages().CreateAliasRequest(alias=names.hold(until), collection_name=there))


def _digest(owner: str) -> str:
    return blake2b(owner.encode(), digest_size=8).hexdigest()


def release(rpc: MilvusRpc, names: Names, there: str) -> None:
    """End every hold of it."""
    aliases = rpc.call("DescribeCollection", messages().DescribeCollectionRequest(collection_name=there)).aliases
    for alias in aliases:
        if (names.read(alias) or "-")[0] == "w":
            with suppress(MilvusRefusal, NotFound):  # it is gone
                rpc.call("DropAlias", messages().DropAliasRequest(alias=alias))


def new_name(names: Names) -> str:
    """In Milvus, of a collection to be filled from now on."""
    return names.hidden(f"{round(time.time() * 1e3)}-{uuid.uuid4().hex}")


def is_old(names: Names, there: str) -> bool:
    """Whether it is hidden, and was made so long ago that only a hold keeps it."""
    kind, name = names.read(there) or ("", "")
    made = name.partition("-")[0]
    return kind == "h" and made.isdecimal() and int(made) / 1e3 + LEASE_S < time.time()


class FillLease:
    """Of the collection called `there`, whose name is new."""

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
