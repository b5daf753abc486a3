"""`/collections` and `/aliases`: create, list, describe, switch, drop."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from clip_core.errors import ClipServeError, Unavailable, UnknownCollection
from index_service.answers.facets import MOST_FIELDS
from index_service.collection import bodies
from index_service.collection.registry import Registry
from index_service.collection.stored import StoredCollection
from index_service.http.answers import json_answer
from index_service.http.call_limit import CallLimit
from index_service.http.workers import Workers
from index_service.settings import IndexSettings

_PAGE, _GROUPS, _IDS = 100, 1000, 100  # groups of a page, most of these, and most ids of a group
_SPEC = ("model", "fingerprint", "dim", "metric", "engine", "factory", "recall_target", "metadata", "store")


class CollectionsApi:
    """The routes over whole collections."""

    def __init__(self, settings: IndexSettings, registry: Registry, workers: Workers) -> None:
        self._settings = settings
        self._gate = CallLimit(settings.max_concurrent_facets, "facets", "max_concurrent_facets")
        self._registry, self._workers = registry, workers

    async def list_collections(self, _: Request) -> Response:
        """Every collection, by name; where some may be missing, `incomplete` says why."""
        return await self._workers.read(self._list, waits=self._registry.shares)

    def _list(self) -> Response:
        found = [_described(collection) for collection in self._registry.all()]
        shown = [each for each in found if not isinstance(each, ClipServeError)]
        away = (each.message for each in found if isinstance(each, Unavailable))
        incomplete = next(away, self._registry.missing())
        return json_answer({"collections": shown, **({"incomplete": incomplete} if incomplete else {})})

    async def create_collection(self, request: Request) -> Response:
        """201 for a new one, 200 when it exists with the same model, fingerprint, dim, and metric if one is given."""
        raw, name = await request.body(), request.path_params["name"]
        return await self._workers.write(
            lambda: self._create(name, bodies.parse_body(raw, _SPEC)), waits=self._registry.shares
        )

    def _create(self, name: str, body: dict[str, Any]) -> Response:
        given = self._settings
        info = bodies.collection_info(name, {"store": given.store, **body}, given.max_dim, given.max_metadata_bytes)
        unsaid = [name for name in ("metric", "store") if name not in body]
        collection, created = self._registry.create(info, unsaid)
        return json_answer(collection.describe(), 201 if created else 200)

    async def describe_collection(self, request: Request) -> Response:
        """One collection, with its segment."""
        collection = self._registry.get(request.path_params["name"])
        return await self._workers.read(lambda: json_answer(collection.describe()), waits=collection.waits)

    async def count_facets(self, request: Request) -> Response:
        """The values of metadata fields with their exact counts, over the items that a filter lets through."""
        with self._gate.enter():
            raw, collection = await request.body(), self._registry.get(request.path_params["name"])
            return await self._workers.aside(
                lambda: self._facets(collection, bodies.parse_body(raw, ("fields", "filter", "values"))),
                waits=collection.waits,
            )

    def _facets(self, collection: StoredCollection, body: dict[str, Any]) -> Response:
        fields, where = bodies.field_names(body.get("fields"), MOST_FIELDS), bodies.where(body.get("filter"))
        most = bodies.most_values(body.get("values", 20))
        found = collection.facets(fields, where, most, self._settings.max_answer_bytes)
        return json_answer({"facets": [facet.to_dict() for facet in found]})

    async def list_duplicates(self, request: Request) -> Response:
        """Up to `limit` groups of items with the same `digest`, by digest; `next` is what to pass as `after`."""
        query = request.query_params
        most, after = bodies.whole(query.get("limit"), "limit", _PAGE, _GROUPS), bodies.after_id(query.get("after"))
        with self._gate.enter():
            collection = self._registry.get(request.path_params["name"])
            return await self._workers.aside(lambda: self._grouped(collection, after, most), waits=collection.waits)

    def _grouped(self, collection: StoredCollection, after: str, most: int) -> Response:
        """One call at a time."""
        found = collection.duplicates(after, most + 1, _IDS)
        page = found[:most]
        groups = [group.to_dict() for group in page]
        return json_answer({"groups": groups, "next": page[-1].digest if len(found) > most else None})

    async def drop_collection(self, request: Request) -> Response:
        """Deletes the collection and all its items."""
        name = request.path_params["name"]
        await self._workers.write(lambda: self._registry.drop(name), waits=self._registry.shares)
        return json_answer({"deleted": True})

    async def list_aliases(self, _: Request) -> Response:
        """Every alias with its collection."""
        found = self._registry.aliases()
        return json_answer({"aliases": [{"name": name, "collection": target} for name, target in found.items()]})

    async def set_alias(self, request: Request) -> Response:
        """Points the alias to a collection, at once; searches under way end in the one they began in."""
        raw, name = await request.body(), bodies.collection_name(request.path_params["name"])
        return await self._workers.write(
            lambda: self._set_alias(name, bodies.parse_body(raw, ("collection",))), waits=self._registry.shares
        )

    def _set_alias(self, name: str, body: dict[str, Any]) -> Response:
        self._registry.set_alias(name, bodies.text(body, "collection"))
        return json_answer({"name": name, "collection": self._registry.aliases()[name]})

    async def drop_alias(self, request: Request) -> Response:
        """Removes the alias; its collection stays."""
        name = request.path_params["name"]
        await self._workers.write(lambda: self._registry.drop_alias(name), waits=self._registry.shares)
        return json_answer({"deleted": True})


def _described(collection: StoredCollection) -> dict[str, Any] | Unavailable | UnknownCollection:
    """Or why it can't be described: its store is away, or it was dropped meanwhile."""
    try:
        return collection.describe()
    except (Unavailable, UnknownCollection) as error:
        return error
