"""Collections in Milvus made, loaded and dropped, by their names there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from clip_core.errors import ClipServeError, Conflict, UnknownCollection
from index_service.milvus.rpc import MilvusRefusal, MilvusRpc, messages, wait_until
from index_service.milvus.schema import create_request, index_request
from index_service.record.records import CollectionInfo

_MADE_S = 60.0  # until a new collection is loaded


@dataclass(frozen=True)
class MadeWith:
    """How new collections are made: their graphs, shards, and copies in memory."""

    m: int = 32
    ef_construction: int = 200
    shards: int = 1
    replicas: int = 1


class CollectionMaker:
    """Of one Milvus server."""

    def __init__(self, rpc: MilvusRpc, built: MadeWith) -> None:
        self._rpc, self._built = rpc, built

    def make(self, there: str, info: CollectionInfo) -> None:
        """Create, index and load; or drop what is half made. Where this process dies, `finish` goes on."""
        with free(info.name):
            self._rpc.call("CreateCollection", create_request(there, info, self._built.shards))
        try:
            self._index(there, info)
            self._load(there)
        except BaseException:
            with suppress(ClipServeError):
                self.drop(there)
            raise

    def finish(self, there: str, info: CollectionInfo) -> None:
        """Index and load a collection whose maker died, or that somebody released."""
        state = self._rpc.call("GetLoadState", messages().GetLoadStateRequest(collection_name=there)).state
        if state == messages("common").LoadState.Value("LoadStateNotLoad"):
            with suppress(MilvusRefusal):  # it has its index
                self._index(there, info)
            self._begin_to_load(there)

    def _index(self, there: str, info: CollectionInfo) -> None:
        self._rpc.call("CreateIndex", index_request(there, info, self._built.m, self._built.ef_construction))

    def _load(self, there: str) -> None:
        self._begin_to_load(there)
        asked = messages().GetLoadStateRequest(collection_name=there)
        loaded = messages("common").LoadState.Value("LoadStateLoaded")
        wait_until(lambda: self._rpc.call("GetLoadState", asked).state == loaded, _MADE_S, "load the collection")

    def _begin_to_load(self, there: str) -> None:
        request = messages().LoadCollectionRequest(collection_name=there, replica_number=self._built.replicas)
        self._rpc.call("LoadCollection", request)

    def drop(self, there: str) -> None:
        """With all its items. Raises MilvusRefusal while an alias leads to it."""
        self._rpc.call("DropCollection", messages().DropCollectionRequest(collection_name=there))


def described(rpc: MilvusRpc, there: str) -> Any:
    """Milvus' description of a collection: schema, aliases, number. None where it was dropped meanwhile."""
    with suppress(UnknownCollection):
        return rpc.call("DescribeCollection", messages().DescribeCollectionRequest(collection_name=there))
    return None


@contextmanager
def free(name: str) -> Iterator[None]:
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
