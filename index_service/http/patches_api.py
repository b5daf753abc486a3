"""PATCH of `/collections/{name}/items`: other metadata for items that keep their vectors.

The query parameter `fixed` names fields, with commas between, that no patch changes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response

from clip_core.errors import BadInput, ClipServeError
from index_service.collection import bodies
from index_service.collection.patches import ItemPatch, PatchBatch, PatchResult, parse_patches, patch_of
from index_service.collection.stored import StoredCollection
from index_service.http.answers import json_answer
from index_service.http.writes import Writes

_FIELDS = ("items", "ids", "filter", "metadata", "after", "limit")


class PatchesApi:
    """Each patch returns once it is on disk and searches see it."""

    def __init__(self, writes: Writes) -> None:
        self._writes = writes
        self._most, self._max_metadata = writes.settings.max_batch, writes.settings.max_metadata_bytes

    async def patch_item(self, request: Request) -> Response:
        """One item: what its metadata is now. 404 when there is no such item."""
        id_, fixed = request.path_params["id"], _fixed(request)
        return await self._writes.run(request, lambda collection, raw: self._one(collection, id_, raw, fixed))

    def _one(self, collection: StoredCollection, id_: str, raw: bytes, fixed: Sequence[str]) -> Response:
        patch = patch_of(bodies.parse_body(raw, ("metadata",)), self._max_metadata)
        (result,) = self._patched(collection, [ItemPatch(bodies.item_id(id_), patch)], fixed)
        if isinstance(result, ClipServeError):
            raise result
        return json_answer({"id": id_, "metadata": orjson.Fragment(result or b"{}")})

    async def patch_items(self, request: Request) -> Response:
        """`items` with a patch each, or one patch, `metadata`, for all that `ids` or a `filter` names.

        One result for each, in order. With a filter: one page of the items behind the id `after`; how many have the
        patch now, what failed, and `next`, which is what to pass as `after`, null at the end.
        """
        fixed = _fixed(request)
        return await self._writes.run(
            request, lambda collection, raw: self._many(collection, bodies.parse_body(raw, _FIELDS), fixed)
        )

    def _many(self, collection: StoredCollection, body: Mapping[str, Any], fixed: Sequence[str]) -> Response:
        given = [name for name in ("items", "ids", "filter") if body.get(name) is not None]
        if len(given) != 1:
            raise BadInput("give one of `items`, `ids` and `filter`", param=given[-1] if given else "items")
        if given == ["filter"]:
            return self._page(collection, body, fixed)
        _check_absent(body, ("after", "limit"), "goes with `filter`")
        patches = parse_patches(self._listed(body), self._max_metadata)
        results = self._patched(collection, [patch for _, patch in patches], fixed)
        return json_answer({"results": [_told(id_, it) for (id_, _), it in zip(patches, results, strict=True)]})

    def _listed(self, body: Mapping[str, Any]) -> list[Any]:
        """A patch for each item."""
        if body.get("ids") is None:
            _check_absent(body, ("metadata",), "stands in each of `items`")
            return bodies.listed(body, "items", self._most)
        patch = patch_of(body, self._max_metadata)
        return [{"id": id_, "metadata": patch} for id_ in bodies.listed(body, "ids", self._most)]

    def _page(self, collection: StoredCollection, body: Mapping[str, Any], fixed: Sequence[str]) -> Response:
        where, patch = bodies.where(body.get("filter")), patch_of(body, self._max_metadata)
        if where is None:
            raise BadInput("`filter` says which items to change, and isn't empty", param="filter")
        most = bodies.whole_number(body, "limit", self._most, self._most)
        ids, following = collection.ids(where, bodies.after(body), most)
        patches = [ItemPatch(id_, patch) for id_ in ids]
        results = self._patched(collection, patches, fixed, where)
        failed = [
            _told(patch.id, result)
            for patch, result in zip(patches, results, strict=True)
            if isinstance(result, ClipServeError)
        ]
        updated = sum(isinstance(result, bytes) for result in results)
        return json_answer({"updated": updated, "failed": failed, "next": following})

    def _patched(
        self,
        collection: StoredCollection,
        patches: Sequence[ItemPatch | ClipServeError],
        fixed: Sequence[str],
        where: bytes | None = None,
    ) -> list[PatchResult]:
        most = collection.most_metadata or self._max_metadata
        batch = PatchBatch(patches, where, min(most, self._max_metadata), fixed)
        collection.patch(batch)
        self._writes.metrics.patches.inc(sum(isinstance(result, bytes) for result in batch.results))
        self._writes.registry.written(collection)
        return batch.results


def _fixed(request: Request) -> Sequence[str]:
    names = request.query_params.get("fixed")
    return names.split(",") if names else ()


def _check_absent(body: Mapping[str, Any], names: Sequence[str], why: str) -> None:
    """Raises BadInput for the first of `names` that is given."""
    for name in names:
        if body.get(name) is not None:
            raise BadInput(f"`{name}` {why}", param=name)


def _told(id_: str | None, result: PatchResult) -> dict[str, Any]:
    """What became of one patch."""
    if isinstance(result, ClipServeError):
        return {"id": id_, "status": result.status, **result.to_dict()}
    return {"id": id_, "status": 200}
