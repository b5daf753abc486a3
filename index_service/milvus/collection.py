"""One collection whose items are in Milvus. This process keeps nothing of them, and other replicas may write, too.

Milvus has no transactions. Writes of this process to one collection that read before they write (patches, deletions by
filter) exclude its other writes there; between replicas the last write of an item wins.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any

import numpy as np
import orjson

from clip_core.errors import UnknownItem
from clip_core.wire import Consistency, Exactness, FloatArray
from index_service.answers.duplicates import DuplicateGroup
from index_service.answers.facets import FACET_SAMPLE, FieldFacet
from index_service.answers.hits import FIELD_BYTES, HIT_BYTES, BatchAnswers, Search, SearchBatch, vector_bytes
from index_service.collection.description import describe_collection
from index_service.collection.patches import PatchBatch
from index_service.collection.recall import RecallCounts, Sample
from index_service.collection.stored import Gauges
from index_service.milvus.counting import count_facets, group_duplicates
from index_service.milvus.following import Follower
from index_service.milvus.reading import MilvusReader, Moment
from index_service.milvus.repeating import RepeatedSearches
from index_service.milvus.rows import ITEM_FIELDS, check_sizes, ids_in, in_messages, literal, upsert_request
from index_service.milvus.rpc import MilvusRpc, messages
from index_service.milvus.schema import MAX_JSON_BYTES
from index_service.milvus.searching import MilvusSearcher, passing
from index_service.milvus.sequence import Sequence as WriteOrder
from index_service.milvus.write_lock import WriteLock
from index_service.record.records import CollectionInfo, ItemChunk, StoredItem

_log = logging.getLogger("index_service.milvus")
_WHOLE = (*ITEM_FIELDS, "seq")
_ATTEMPTS = 2  # of a write that takes long
_DELETE_IDS = 1000
_COST = 10**9  # of a call of another process, in the unit of `Segment.cost`: never on the event loop
_METADATA_BYTES = 256  # of an item, as long as nobody knows better


@dataclass(frozen=True)
class MilvusLimits:
    """How a collection is read and written: settings of the service."""

    consistency: Consistency = "session"
    settle_s: float = 2.0
    ef: int = 128


class MilvusCollection:
    """The collection that Milvus knows as `there`. Its reads see what was written by the time it is made, and more."""

    waits, most_metadata = True, MAX_JSON_BYTES

    def __init__(self, info: CollectionInfo, there: str, rpc: MilvusRpc, limits: MilvusLimits) -> None:
        self.info, self.there = info, there
        self.recall = RecallCounts()
        self._rpc, self._limits = rpc, limits
        self._lock, self._stamp = WriteLock(), threading.Lock()
        self._reader = MilvusReader(rpc, there, info.dim)
        self._order = WriteOrder(rpc, limits.settle_s)
        self._written_at = self._order.tick()  # Milvus' timestamp of this process' last write
        self._looked_at = -math.inf, 0  # when the last timestamp of a strong read was taken, and that timestamp
        self._follower = Follower(self._reader, self._order)
        self._searcher = MilvusSearcher(rpc, there, info, self._reader, limits.ef)
        self._exact = info.engine == "exact" or info.recall_target == 1.0

    def _moment(self, consistency: Consistency | None = None, began: float = math.inf) -> Moment:
        level = consistency or self._limits.consistency
        return self._strong(began) if level == "strong" else Moment(level, self._written_at)

    def _strong(self, began: float) -> Moment:
        """As strong, but for that only the first read of an operation, or of a call that `began` then, waits for it."""
        taken_at, tick = self._looked_at
        if taken_at < began:
            taken_at = time.monotonic()
            tick = self._order.tick()
            self._looked_at = taken_at, tick
        return Moment("session", tick)

    @property
    def _now(self) -> Moment:
        """For reads that a write depends on."""
        return self._moment(self._needed)

    @property
    def _needed(self) -> Consistency:
        """Of reads that a write depends on."""
        return "strong" if self._limits.consistency == "strong" else "session"

    # writes

    def upsert(self, items: Sequence[StoredItem], vectors: FloatArray) -> None:
        """See `StoredCollection.upsert`."""
        with self._lock.shared():
            self._put(items, vectors)

    def _put(self, items: Sequence[StoredItem], vectors: FloatArray) -> None:
        for item in items:
            check_sizes(item)  # before anything is written
        self._reader.saw([item.metadata for item in items])
        for some in in_messages(items):
            self._put_some(items[some], vectors[some])

    def _put_some(self, items: Sequence[StoredItem], vectors: FloatArray) -> None:
        """In one message. Whoever follows the collection may have passed numbers that were taken too long ago.

        What was written with such, because Milvus was slow for a moment, is written again with newer ones.
        """
        settle_s = self._limits.settle_s
        for _ in range(_ATTEMPTS):
            began = time.monotonic()
            with self._order.taken(len(items)) as seqs:
                self._wrote(self._rpc.write("Upsert", upsert_request(self.there, items, vectors, seqs)))
            if not settle_s or time.monotonic() - began <= settle_s:
                return
        _log.warning(
            "milvus is slow: whoever follows this collection at another replica may miss a write",
            extra={"collection": self.info.name, "setting": "CLIPSERVE_INDEX_MILVUS_WATERMARK_DELAY_S"},
        )

    def _wrote(self, answer: Any) -> None:
        """Milvus 2.3 doesn't say when it deleted."""
        at = answer.timestamp or self._order.tick()
        with self._stamp:
            self._written_at = max(self._written_at, at)

    def patch(self, batch: PatchBatch) -> None:
        """See `StoredCollection.patch`."""
        with self._lock.alone():
            before = {item.id: item for item in self._read(list(dict.fromkeys(batch.ids)), self._needed)}
            documents = {id_: item.metadata for id_, item in before.items()}
            batch.apply(documents)
            changed = [
                item._replace(metadata=documents[id_])
                for id_, item in before.items()
                if documents[id_] != item.metadata
            ]
            if changed:
                self._put(changed, self._vectors_of(changed))

    def _vectors_of(self, items: Sequence[StoredItem]) -> FloatArray:
        flat = np.frombuffer(b"".join(item.vector for item in items), "<f4").astype(np.float32)
        return flat.reshape(len(items), self.info.dim)

    def delete(self, ids: Sequence[str]) -> int:
        """See `StoredCollection.delete`."""
        with self._lock.alone():
            return self._delete(ids)

    def _delete(self, ids: Sequence[str]) -> int:
        """All of `ids`, also those that another replica wrote a moment ago and that aren't seen here yet."""
        wanted, deleted = list(dict.fromkeys(ids)), 0
        for start in range(0, len(wanted), _DELETE_IDS):
            expression = ids_in(wanted[start : start + _DELETE_IDS])
            deleted += self._reader.count(expression, self._now)
            request = messages().DeleteRequest(collection_name=self.there, expr=expression)
            self._wrote(self._rpc.call("Delete", request))
        return deleted

    def delete_where(self, where: bytes) -> int:
        """See `StoredCollection.delete_where`."""
        with self._lock.alone():
            return sum(self._delete(page.ids) for page in passing(self._reader, where, ["id"], self._now))

    # reads

    def get(self, id_: str, consistency: Consistency | None = None) -> StoredItem:
        """See `StoredCollection.get`."""
        found = self._read([id_], consistency)
        if not found:
            raise UnknownItem(f"there is no item {id_!r} in the collection {self.info.name}", param="id")
        return found[0]

    def items(self, ids: Sequence[str]) -> list[StoredItem]:
        """See `StoredCollection.items`."""
        return self._read(ids, None)

    def _read(self, ids: Sequence[str], consistency: Consistency | None) -> list[StoredItem]:
        """Those that are missing are looked for twice: Milvus may not show what is just being replaced."""
        found: dict[str, StoredItem] = {}
        for _ in range(2):
            missing = [id_ for id_ in dict.fromkeys(ids) if id_ not in found]
            if missing:
                pages = self._reader.by_ids(missing, ITEM_FIELDS, self._moment(consistency))
                found |= {item.id: item for columns in pages for item in columns.items()}
        return list(found.values())

    def page(self, after: str, limit: int) -> list[tuple[str, bytes]]:
        """See `StoredCollection.page`."""
        pages = self._reader.pages("", ["id", "metadata"], self._moment(), after, limit)
        rows = (zip(found.texts("id"), found.documents("metadata"), strict=True) for found in pages)
        return list(islice(chain.from_iterable(rows), limit))

    def matching(self, where: bytes, after: str, most: int) -> Iterator[tuple[str, bytes]]:
        """See `StoredCollection.matching`."""
        for page in passing(self._reader, where, ["id"], self._moment(), after, max(most, 100)):
            yield from zip(page.ids, page.documents, strict=True)

    def ids(self, where: bytes | None, after: str, most: int) -> tuple[list[str], str | None]:
        """See `StoredCollection.ids`."""
        if where is None:
            pages = self._reader.pages("", ["id"], self._moment(), after, most + 1)
            found = list(islice(chain.from_iterable(columns.texts("id") for columns in pages), most + 1))
        else:
            found = [id_ for id_, _ in islice(self.matching(where, after, most + 1), most + 1)]
        return found[:most], found[most - 1] if len(found) > most else None

    def since(self, seq: int, limit: int) -> ItemChunk:
        """See `StoredCollection.since`."""
        return self._follower.since(seq, limit)

    def stream(self) -> Iterator[ItemChunk]:
        """All items by id, each as it is when its page is read: Milvus gives no view of one moment."""
        after = ""
        for columns in self._reader.pages("", _WHOLE, self._moment("strong")):
            yield ItemChunk(columns.numbers("seq"), columns.items())
            ids = columns.texts("id")
            yield from self._missed(f"id <= {literal(ids[-1])}", after, ids)
            after = ids[-1]
        yield from self._missed("", after, ())

    def _missed(self, expression: str, after: str, ids: Sequence[str]) -> Iterator[ItemChunk]:
        """Items of a page that were being replaced while it was read: Milvus may have shown neither state of them."""
        strong = self._moment("strong")
        there = chain.from_iterable(
            found.texts("id") for found in self._reader.pages(expression, ["id"], strong, after)
        )
        for found in self._reader.by_ids(sorted({*there} - {*ids}), _WHOLE, strong):
            yield ItemChunk(found.numbers("seq"), found.items())

    def facets(self, fields: Sequence[str] | None, where: bytes | None, most: int, most_bytes: int) -> list[FieldFacet]:
        """See `StoredCollection.facets`: all items are read. The fields that repeat are seen in the first by id."""
        moment = self._moment()
        sample = [text for _, text in self.page("", FACET_SAMPLE)] if fields is None else []
        pages = (page.documents for page in passing(self._reader, where, ["id"], moment))
        return count_facets(pages, sample, fields, most, most_bytes)

    def duplicates(self, after: str, most: int, most_ids: int) -> list[DuplicateGroup]:
        """See `StoredCollection.duplicates`: all items are read."""
        pages = passing(self._reader, orjson.dumps({"digest": {"$exists": True}}), ["id"], self._moment())
        return group_duplicates(((page.ids, page.documents) for page in pages), after, most, most_ids)

    # sizes and costs

    def count(self, consistency: Consistency | None = None) -> int:
        """How many items there are."""
        return self._reader.count("", self._moment(consistency))

    def describe(self) -> dict[str, Any]:
        """The collection as the API shows it."""
        count = self.count()
        segment = {"engine": self.engine, "rows": count, "delta": 0, "tombstones": 0}
        return {
            **describe_collection(self.info, count, self._order.now(), segment),
            "merge_failure": None,
            "recall": self.recall.describe(),
        }

    def gauges(self) -> Gauges:
        """Recall, as this replica measured it: Milvus' own metrics show how many items there are."""
        return Gauges(None, recall=self.recall.describe())

    def listing_bytes(self, entries: int) -> int:
        """Small: how many items there are isn't known without asking."""
        return min(entries, 1000) * (vector_bytes(self.info) + self._mean_metadata)

    @property
    def _mean_metadata(self) -> int:
        return _METADATA_BYTES if self._reader.metadata_bytes is None else self._reader.metadata_bytes

    def answer_bytes(self, search: Search) -> int:
        """As if every hit had an id of some letters, and metadata as those that were seen last."""
        a_hit = HIT_BYTES + 32
        if "metadata" in search.include:
            a_hit += FIELD_BYTES + self._mean_metadata
        return search.k * (a_hit + (vector_bytes(self.info) if "vector" in search.include else 0))

    def search_cost(self, batch: SearchBatch, where: bytes | None, exact: Exactness) -> int:
        """Always so much that a thread waits for the answer."""
        del batch, where, exact
        return _COST

    # searches

    @property
    def engine(self) -> str:
        """Who answers."""
        return "milvus"

    def search(
        self,
        batch: SearchBatch,
        where: bytes | None,
        exact: Exactness,
        consistency: Consistency | None = None,
        began: float = math.inf,
    ) -> tuple[BatchAnswers, Sample | None]:
        """See `StoredCollection.search`."""
        moment = self._moment(consistency, began)
        found = self._searcher.search(batch, where, exact, moment)
        if exact or self._exact:
            return found, None
        scores = np.array([hit.score for hit in found.hits[0]], np.float32)
        return found, Sample(self.recall, RepeatedSearches(self._reader, moment), batch.queries[0], where, scores)
