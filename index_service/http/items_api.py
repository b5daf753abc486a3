"""`/collections/{name}/items`: list and read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import islice
from typing import Any

import numpy as np
import orjson
from starlette.requests import Request
from starlette.responses import Response

from clip_core.errors import InvalidRequest
from clip_core.wire import encode_vector, parse_consistency
from index_service.collection import bodies
from index_service.collection.registry import Registry
from index_service.collection.stored import StoredCollection
from index_service.http.answers import json_answer
from index_service.http.pages import PageLimits, item_size, page_of
from index_service.http.workers import Workers
from index_service.record.store import StoredItem
from index_service.search.call import LARGE_BYTES
from index_service.settings import IndexSettings

_PAGE = 100
_MAX_SEQ = 2**63 - 1


class ItemsApi:
    """The routes that read the items of one collection."""

    def __init__(self, settings: IndexSettings, registry: Registry, workers: Workers) -> None:
        self._most, self._most_bytes = settings.max_batch, settings.max_answer_bytes
        self._registry, self._workers = registry, workers

    def _collection(self, request: Request) -> StoredCollection:
        return self._registry.get(request.path_params["name"])

    async def list_items(self, request: Request) -> Response:
        """`limit` ids and metadata after the id `after`; `next` is what to pass as `after`, null at the end.

        With `filter`, a filter in JSON, of the items that it lets through.
        With `since`, a sequence number, whole items in the order of writing; `next` is what to pass as `since`. A page
        also ends before it has more bytes than an answer may have.
        """
        collection, query = self._collection(request), request.query_params
        limits = PageLimits(bodies.whole(query.get("limit"), "limit", _PAGE, self._most), self._most_bytes)
        if "since" not in query:
            if "include" in query:
                raise InvalidRequest("`include` goes with `since`, or with one item", param="include")
            after, where = bodies.after_id(query.get("after")), bodies.where_text(query.get("filter"))
            return await self._list(collection, limits, lambda: _listed(collection, where, after, limits))
        if "filter" in query:
            raise InvalidRequest("`filter` does not go with `since`", param="filter")
        if "after" in query:
            raise InvalidRequest("give `after` or `since`, not both", param="after")
        since = bodies.whole(query["since"], "since", 0, _MAX_SEQ, least=0)
        include = bodies.included(query.get("include"))
        return await self._list(collection, limits, lambda: _listed_since(collection, since, limits, include))

    async def _list(self, collection: StoredCollection, limits: PageLimits, work: Callable[[], Response]) -> Response:
        """Large listings take turns."""
        if collection.listing_bytes(limits.entries) > LARGE_BYTES:
            return await self._workers.large(work, listing=True, waits=collection.waits)
        return await self._workers.read(work, waits=collection.waits)

    async def get_item(self, request: Request) -> Response:
        """One item; with `include=vector,source` those too."""
        collection, id_ = self._collection(request), request.path_params["id"]
        query = request.query_params
        include, consistency = bodies.included(query.get("include")), parse_consistency(query.get("consistency"))
        return await self._workers.read(
            lambda: json_answer(_shown(collection.get(id_, consistency), include)), waits=collection.waits
        )


def _listed(collection: StoredCollection, where: bytes | None, after: str, limits: PageLimits) -> Response:
    read = collection.page if where is None else _matching(collection, where, after, limits)
    page, more = page_of(read, after, limits, len)
    items = [{"id": id_, "metadata": orjson.Fragment(metadata)} for id_, metadata in page]
    return json_answer({"items": items, "next": page[-1][0] if more else None})


def _matching(
    collection: StoredCollection, where: bytes, after: str, limits: PageLimits
) -> Callable[[str, int], list[tuple[str, bytes]]]:
    """As `StoredCollection.page`, for one page of what a filter lets through."""
    found = collection.matching(where, after, limits.entries + 1)
    return lambda _, most: list(islice(found, most))


def _listed_since(collection: StoredCollection, since: int, limits: PageLimits, include: Sequence[str]) -> Response:
    """For whoever follows a collection: whatever is written later gets a larger number."""

    def read(after: int, most: int) -> list[tuple[int, StoredItem]]:
        chunk = collection.since(after, most)
        return list(zip(chunk.seqs, chunk.items, strict=True))

    page, more = page_of(read, since, limits, item_size)
    items = [{**_shown(item, include), "seq": seq} for seq, item in page]
    return json_answer({"items": items, "next": page[-1][0] if more else None})


def _shown(item: StoredItem, include: Sequence[str]) -> dict[str, Any]:
    shown: dict[str, Any] = {"id": item.id, "metadata": orjson.Fragment(item.metadata)}
    if "vector" in include:
        shown["vector"] = encode_vector(np.frombuffer(item.vector, "<f4"))
    if "source" in include:
        shown["source"] = None if item.source is None else orjson.Fragment(item.source)
    return shown
