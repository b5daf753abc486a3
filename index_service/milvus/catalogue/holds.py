"""Collections in Milvus whose writes are held back, as aliases that say until when: replicas share nothing else."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable
from hashlib import blake2b

from index_service.milvus.catalogue.aliases import drop_alias
from index_service.milvus.rpc import MilvusRpc, messages
from index_service.milvus.schema import Names


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
    """End every hold of it. Raises UnknownCollection."""
    aliases = rpc.call("DescribeCollection", messages().DescribeCollectionRequest(collection_name=there)).aliases
    for alias in aliases:
        if (names.read(alias) or "-")[0] == "w":
            drop_alias(rpc, alias)
