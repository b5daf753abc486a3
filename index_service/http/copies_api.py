"""`POST /collections/{name}/items/copy`: items of another collection, with their vectors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from clip_core.errors import BadInput, UnknownItem
from index_service.collection import bodies
from index_service.collection.registry import Registry
from index_service.collection.stored import StoredCollection
from index_service.copies.copying import check_alike, copy_items
from index_service.http.answers import json_answer
from index_service.http.call_limit import CallLimit
from index_service.http.metrics import IndexMetrics
from index_service.http.workers import Workers
from index_service.http.write_holds import WriteHolds
from index_service.settings import IndexSettings

_FIELDS = ("from", "ids", "filter", "after", "limit")


class CopiesApi:
    """`writes` bounds how many calls are under way."""

    def __init__(
        self,
        settings: IndexSettings,
        registry: Registry,
        metrics: IndexMetrics,
        workers: Workers,
        writes: CallLimit,
        holds: WriteHolds,
    ) -> None:
        self._holds = holds
        self._most = settings.max_batch
        self._registry, self._metrics, self._workers, self._gate = registry, metrics, workers, writes

    async def copy_items(self, request: Request) -> Response:
        """Those that `ids` names, with a result for each; or a page of those that a `filter` lets through.

        With a filter: how many were copied, and `next`, which is what to pass as `after`, null at the end.
        """
        with self._gate.enter():
            raw = await request.body()
            async with self._holds.writing(lambda: self._registry.get(request.path_params["name"])) as target:
                return await self._workers.write(
                    lambda: self._copy(target, bodies.parse_body(raw, _FIELDS)), waits=True
                )

    def _copy(self, target: StoredCollection, body: Mapping[str, Any]) -> Response:
        source = self._registry.get(bodies.text(body, "from"))
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
        self._metrics.upserts.inc(len(copied))
        self._registry.written(target)
        return copied


def _told(source: StoredCollection, id_: str, copied: bool) -> dict[str, Any]:
    if copied:
        return {"id": id_, "status": 200}
    error = UnknownItem(f"there is no item {id_!r} in the collection {source.info.name}", param="id")
    return {"id": id_, "status": error.status, **error.to_dict()}
