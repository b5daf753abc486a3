"""Collections in Milvus whose writes are held back, as aliases that say until when: replicas share nothing else."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable
from contextlib import suppress

from clip_core.errors import NotFound
from index_service.milvus.rpc import MilvusRefusal, MilvusRpc, messages
from index_service.milvus.schema import Names


def held_until(names: Names, aliases: Iterable[str]) -> float:
    """The time, as `time.time()`, until which a collection with these aliases in Milvus is held; 0 where it is not."""
    read = (names.read(alias) for alias in aliases)
    return max((int(text.partition("-")[0]) / 1e3 for kind, text in filter(None, read) if kind == "w"), default=0.0)


def hold(rpc: MilvusRpc, names: Names, there: str, seconds: float) -> None:
    """Hold the writes of the collection called `there` back. The clocks of all replicas must agree."""
    until = f"{round((time.time() + seconds) * 1e3)}-{uuid.uuid4().hex[:8]}"
    rpc.call("CreateAlias", messages().CreateAliasRequest(alias=names.hold(until), collection_name=there))


def release(rpc: MilvusRpc, names: Names, there: str) -> None:
    """End every hold of it."""
    aliases = rpc.call("DescribeCollection", messages().DescribeCollectionRequest(collection_name=there)).aliases
    for alias in aliases:
        if (names.read(alias) or "-")[0] == "w":
            with suppress(MilvusRefusal, NotFound):  # it is gone
                rpc.call("DropAlias", messages().DropAliasRequest(alias=alias))
