"""What the record holds, as values: collections, aliases, items."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Literal, NamedTuple, TypeAlias, get_args

from index_service.engines.base import IntArray, Metric

MAX_ID = 512  # characters of an item's id
StoreName: TypeAlias = Literal["embedded", "milvus"]
STORES: tuple[StoreName, ...] = get_args(StoreName)


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds").replace("+00:00", "Z")


@dataclass(frozen=True)
class CollectionInfo:
    """What a collection was created with; `metadata` is JSON text, `key` the record's own number for it.

    `store` is where its items are: in this record, or in Milvus.
    """

    name: str
    model: str
    fingerprint: str
    dim: int
    engine: str = "auto"
    recall_target: float | None = None
    metric: Metric = "cosine"
    metadata: bytes = b"{}"
    created: str = field(default_factory=_now)
    key: int = 0
    store: StoreName = "embedded"


class StoredItem(NamedTuple):
    """One row: `vector` is D little-endian float32, `metadata` JSON text of an object.

    `source` is JSON text of what the vector was made from, when the caller said so: what a re-embedding needs.
    """

    id: str
    vector: bytes
    metadata: bytes
    source: bytes | None = None


class Alias(NamedTuple):
    """A second name; `key` and `previous` are the keys of collections, `previous` of the one before the last switch."""

    name: str
    key: int
    previous: int | None


class ItemChunk(NamedTuple):
    """Some rows in the order of insertion, with their sequence numbers."""

    seqs: list[int]
    items: list[StoredItem]


class WrittenRows(NamedTuple):
    """What an upsert did: the first of the consecutive sequence numbers it gave out, and those that it replaced."""

    first: int
    replaced: IntArray


class StoredMetadata(NamedTuple):
    """A row without its vector; `metadata` is JSON text."""

    seq: int
    id: str
    metadata: bytes


class PatchedRow(NamedTuple):
    """A row that is to have other `metadata`, and with that a new sequence number; `seq` is the one it has."""

    seq: int
    id: str
    metadata: bytes
