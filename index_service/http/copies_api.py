"""`POST /collections/{name}/items/copy`: items of another collection, with their vectors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from clip_core.errors import BadInput, UnknownItem
from index_service.collection import bodies
from index_service.collection.stored import StoredCollection
from index_service.copies.copying import check_alike, copy_items
from index_service.http.answers import json_answer
from index_service.http.writes import Writes

_FIELDS = ("from", "ids", "filter", "after", "limit")


class CopiesApi:
    """The route that copies; it waits for two collections, so in a thread of those that wait."""

    def __init__(self, writes: Writes) -> None:
        self._writes, self._most = writes, writes.settings.max_batch

    async def copy_items(self, request: Request) -> Response:
        """Those that `ids` names, with a result for each; or a page of those that a `filter` lets through.

        With a filter: how many were copied, and `next`, which is what to pass as `after`, null at the end.
        """
        return await self._writes.run(
            request, lambda target, raw: self._copy(target, bodies.parse_body(raw, _FIELDS)), waits=True
        )

    def _copy(self, target: StoredCollection, body: Mapping[str, Any]) -> Response:
        source = self._writes.registry.get(bodies.text(body, "from"))
        check_alike(source, target)
        if (body.get("ids") is None) == (body.get("filter") is None):
            raise BadInput("give `ids` or `filter`", param="ids")
        if body.get("ids") is None:
            return self._page(source, target, body)
        ids = [bodies.item_id(id_) for id_ in bodies.listed(body, "ids", self._most)]
        copied = self._copied(source, target, list(dict.fromkeys(ids)))
        return json_answer({"results": [_told(source, id_, id_ in copied) for id_ in ids]})

    def _page(self, source: StoredCollection, target: StoredCollection, body: Mapping[str, Any]) -> Response:
        where, after = bodies.where(body.get("filter")), bodies.after(body)
        ids, following = source.ids(where, after, bodies.whole_number(body, "limit", self._most, self._most))
        return json_answer({"copied": len(self._copied(source, target, ids)), "next": following})

    def _copied(self, source: StoredCollection, target: StoredCollection, ids: list[str]) -> set[str]:
        copied = copy_items(source, target, ids)
        self._writes.metrics.upserts.inc(len(copied))
        self._writes.registry.written(target)
        return copied


def _told(source: StoredCollection, id_: str, copied: bool) -> dict[str, Any]:
    if copied:
        return {"id": id_, "status": 200}
    error = UnknownItem(f"there is no item {id_!r} in the collection {source.info.name}", param="id")
    return {"id": id_, "status": error.status, **error.to_dict()}
