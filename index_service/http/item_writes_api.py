"""`/collections/{name}/items`: write and delete."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from clip_core.errors import BadInput, UnknownItem
from clip_core.tracing.spans import stage
from index_service.collection import bodies
from index_service.collection.items import parse_items
from index_service.collection.stored import StoredCollection
from index_service.http.answers import json_answer
from index_service.http.writes import Writes
from index_service.search.parsing import check_fingerprint


class ItemWritesApi:
    """Each write returns once it is on disk and searchable."""

    def __init__(self, writes: Writes) -> None:
        self._writes = writes
        self._most, self._max_metadata = writes.settings.max_batch, writes.settings.max_metadata_bytes

    async def upsert_items(self, request: Request) -> Response:
        """One result for each item, in order; a bad item never stops its neighbours."""
        return await self._writes.run(request, self._upsert)

    def _upsert(self, collection: StoredCollection, raw: bytes) -> Response:
        body = bodies.parse_body(raw, ("fingerprint", "items"))
        check_fingerprint(collection, bodies.fingerprint(body))
        info = collection.info
        most = collection.most_metadata or self._max_metadata
        items = bodies.listed(body, "items", self._most)
        batch = parse_items(items, info.dim, info.metric, min(most, self._max_metadata))
        with stage("upsert", attributes={"clipserve.collection": info.name, "clipserve.items": len(batch.items)}):
            collection.upsert(batch.items, batch.vectors)
        self._writes.metrics.upserts.inc(len(batch.items))
        self._writes.registry.written(collection)
        return json_answer({"results": batch.results})

    async def delete_item(self, request: Request) -> Response:
        """404 when there is no such item."""
        id_ = request.path_params["id"]

        def delete(collection: StoredCollection, _: bytes) -> tuple[str, int]:
            return collection.info.name, self._deleted(collection, collection.delete([id_]))

        name, deleted = await self._writes.run(request, delete)
        if not deleted:
            raise UnknownItem(f"there is no item {id_!r} in the collection {name}", param="id")
        return json_answer({"deleted": True})

    async def delete_items(self, request: Request) -> Response:
        """By `ids` or by `filter`; how many there were."""
        return await self._writes.run(request, self._delete)

    def _delete(self, collection: StoredCollection, raw: bytes) -> Response:
        body = bodies.parse_body(raw, ("ids", "filter"))
        return json_answer({"deleted": self._deleted(collection, self._delete_all(collection, body))})

    def _delete_all(self, collection: StoredCollection, body: Mapping[str, Any]) -> int:
        if body.get("ids") is not None:
            if body.get("filter") is not None:
                raise BadInput("give `ids` or `filter`, not both", param="ids")
            return collection.delete([bodies.item_id(id_) for id_ in bodies.listed(body, "ids", self._most)])
        where = bodies.where(body.get("filter"))
        if where is None:
            raise BadInput("name what to delete: `ids`, or a `filter` that isn't empty", param="filter")
        return collection.delete_where(where)

    def _deleted(self, collection: StoredCollection, number: int) -> int:
        self._writes.registry.written(collection)
        self._writes.metrics.deletes.inc(number)
        return number
