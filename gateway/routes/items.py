"""/v1/collections/{name}/items: add, change, list, show, delete."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query, Request

from clip_core.errors import InvalidRequest
from gateway.errors import JsonResponse
from gateway.ingest.items import parse_items
from gateway.ingest.ndjson import batches
from gateway.ingest.patches import patch_many, patch_one
from gateway.ingest.stream_ingest import ingest_lines
from gateway.keys.api_key import current_key
from gateway.middleware.request_buffering import letting_go
from gateway.routes.bodies import FEW, Body, read_body, read_json, read_model
from gateway.routes.collections import Name
from gateway.routes.plain_route import StrictRoute
from gateway.schemas.collections import DroppedAnswer
from gateway.schemas.items import (
    CopiedAnswer,
    CopyItemsRequest,
    DeletedAnswer,
    DeleteItemsRequest,
    ItemAnswer,
    ItemsAnswer,
    ItemsPage,
    ItemsRequest,
    PatchedAnswer,
    PatchItemRequest,
    PatchItemsRequest,
    StreamAnswer,
)
from gateway.schemas.openapi import ENCODES, READS, WRITES, answers, takes, takes_lines
from gateway.services import services

router = APIRouter(route_class=StrictRoute, tags=["items"])
ItemId = Annotated[str, Path(description="The item's id.", examples=["scene-1"])]
_CONSISTENCY = "In the store `milvus`: whether writes of other index services must be seen."
_FILTER = "Lists only what fits, as JSON: the filter language of searches."
_FORM = {
    "images": "files",
    "id": "string",
    "image": "file",
    "text": "string",
    "metadata": "string",
    "caption": "boolean",
}


@router.post(
    "/v1/collections/{name}/items",
    responses=answers(ItemsAnswer, *ENCODES, *WRITES),
    openapi_extra=takes(ItemsRequest, form=_FORM),
)
async def add_items(request: Request, name: Name) -> JsonResponse:
    """Add or replace items; each has its own status, and a bad one never stops its neighbours."""
    given = services(request)
    body = await read_body(request, given.parser, given.settings.max_items)
    items = parse_items(_as_list(body), given.parser, given.settings.max_items)
    return JsonResponse({"results": await given.ingester.add(name, items, body.get("model"))})


def _as_list(body: Body) -> Body:
    """A form carries one item as its own fields, or many pictures as `images`, named by their files."""
    images = body.get("images")
    if isinstance(images, list):
        if not all(isinstance(each, dict) and isinstance(each.get("id"), str) for each in images):
            raise InvalidRequest("`images` are the files of a form: in JSON, send `items`", param="images")
        items = [{**each, "metadata": {"file": each["id"]}} for each in images]
        return {"items": items, "caption": body.get("caption")}
    return body if "items" in body or "id" not in body else {"items": [body]}


@router.post(
    "/v1/collections/{name}/items/stream",
    responses=answers(StreamAnswer, *ENCODES, *WRITES),
    openapi_extra=takes_lines({"id": "a", "text": "a red circle"}, {"id": "b", "text": "a star", "metadata": {"n": 1}}),
)
async def stream_items(request: Request, name: Name) -> JsonResponse:
    """Add or replace the items of an NDJSON stream of any length, one a line; bad lines never stop the others."""
    given, settings = services(request), services(request).settings
    lines = batches(request, settings.job_batch, settings.max_image_bytes * 2)
    tally = await ingest_lines(letting_go(request, lines), name, given.ingester, given.parser)
    return JsonResponse(tally.answer())


@router.post(
    "/v1/collections/{name}/items/delete",
    responses=answers(DeletedAnswer, *WRITES),
    openapi_extra=takes(DeleteItemsRequest),
)
async def delete_items(request: Request, name: Name) -> JsonResponse:
    """Delete the items with these ids, or those that match the filter."""
    given = services(request)
    body = await read_model(request, DeleteItemsRequest, given.settings.max_items)
    answer = await given.index.delete_items(name, body.model_dump(exclude_none=True))
    given.sweeper.items_were_deleted()
    return JsonResponse(answer)


@router.post(
    "/v1/collections/{name}/items/copy", responses=answers(CopiedAnswer, *WRITES), openapi_extra=takes(CopyItemsRequest)
)
async def copy_items(request: Request, name: Name) -> JsonResponse:
    """Copy items of another collection of the same model to this one, with their vectors: nothing is embedded."""
    given, key = services(request), current_key()
    wanted = await read_model(request, CopyItemsRequest, given.settings.max_items)
    key.check_scope("search")
    key.check_collection(wanted.from_)
    body = wanted.model_dump(exclude_none=True, by_alias=True)
    try:
        return JsonResponse(await given.index.copy_items(name, body))
    finally:
        given.sweeper.items_were_copied()


@router.patch(
    "/v1/collections/{name}/items", responses=answers(PatchedAnswer, *WRITES), openapi_extra=takes(PatchItemsRequest)
)
async def patch_items(request: Request, name: Name) -> JsonResponse:
    """Change the metadata of many items: each with a merge patch of its own, or one for all that `ids` or a filter
    names. Each item has its own result, and a bad one never stops its neighbours.
    """
    given = services(request)
    body = await read_json(request, given.settings.max_items)
    return JsonResponse(await patch_many(given.index, name, body, given.settings.max_items))


@router.patch(
    "/v1/collections/{name}/items/{item_id:path}",
    responses=answers(ItemAnswer, *WRITES),
    openapi_extra=takes(PatchItemRequest),
)
async def patch_item(request: Request, name: Name, item_id: ItemId) -> JsonResponse:
    """Change an item's metadata by a JSON merge patch (RFC 7386): null removes a field. Its vector stays."""
    body = await read_json(request, FEW)
    return JsonResponse(await patch_one(services(request).index, name, item_id, body))


@router.get("/v1/collections/{name}/items", responses=answers(ItemsPage, *READS))
async def list_items(
    request: Request,
    name: Name,
    limit: Annotated[int, Query(ge=1, le=1000, examples=[100])] = 100,
    after: Annotated[str | None, Query(description="The last id of the page before.", examples=["scene-0"])] = None,
    filter_: Annotated[str | None, Query(alias="filter", examples=['{"color": "red"}'], description=_FILTER)] = None,
) -> JsonResponse:
    """Ids and metadata by id, a page at a time; with `filter` of the items that it lets through."""
    asked = {"limit": limit, "after": after, "filter": filter_}
    return JsonResponse(await services(request).index.items(name, asked))


@router.get("/v1/collections/{name}/items/{item_id:path}", responses=answers(ItemAnswer, *READS))
async def show_item(
    request: Request,
    name: Name,
    item_id: ItemId,
    include: Annotated[Literal["vector"] | None, Query(examples=["vector"])] = None,
    consistency: Annotated[
        Literal["strong", "session", "eventually"] | None, Query(examples=["strong"], description=_CONSISTENCY)
    ] = None,
) -> JsonResponse:
    """One item; with `?include=vector` also its vector."""
    asked = {"include": include, "consistency": consistency}
    return JsonResponse(await services(request).index.item(name, item_id, asked))


@router.delete("/v1/collections/{name}/items/{item_id:path}", responses=answers(DroppedAnswer, *WRITES))
async def delete_item(request: Request, name: Name, item_id: ItemId) -> JsonResponse:
    """Delete one item."""
    given = services(request)
    answer = await given.index.delete_item(name, item_id)
    given.sweeper.items_were_deleted()
    return JsonResponse(answer)
