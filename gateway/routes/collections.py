"""/v1/collections: create, describe, list, drop."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request

from clip_core.errors import BadInput, FingerprintMismatch, UnknownCollection
from clip_core.wire import COLLECTION_NAME
from gateway.encode.encoder import Encoder
from gateway.encode.served_model import check_model, two_models
from gateway.errors import JsonResponse
from gateway.keys.api_key import current_key
from gateway.models.status import with_status
from gateway.routes.bodies import FEW, checked, parse_json, read_json
from gateway.routes.plain_route import StrictRoute
from gateway.schemas.collections import (
    CollectionAnswer,
    CollectionsAnswer,
    CollectionSpec,
    DroppedAnswer,
    DuplicatesAnswer,
    FacetsAnswer,
    ScoreGuidanceAnswer,
)
from gateway.schemas.openapi import ENCODES, READS, WRITES, answers, takes
from gateway.services import Services, services

router = APIRouter(route_class=StrictRoute, tags=["collections"])
_FIELD = "A metadata field, again for each; without any: those of the collection whose values repeat."
Name = Annotated[str, Path(pattern=f"^{COLLECTION_NAME}$", description="The collection's name.", examples=["demo"])]


@router.get("/v1/collections", responses=answers(CollectionsAnswer))
async def list_collections(request: Request) -> JsonResponse:
    """All collections that the key may use, described; where some may be missing, `incomplete` says why."""
    given, key = services(request), current_key()
    answer = await given.index.collections()
    shown = [each for each in answer["collections"] if key.may_use(each["name"])]
    return JsonResponse({**answer, "collections": await with_status(given.models, shown)})


@router.put(
    "/v1/collections/{name}",
    responses={**answers(CollectionAnswer, *ENCODES, *WRITES), 201: {"model": CollectionAnswer}},
    openapi_extra=takes(CollectionSpec),
)
async def create_collection(request: Request, name: Name) -> JsonResponse:
    """Create it for `model`, or the default model: 201, or 200 when it is there already. Its model stays as it is."""
    given = services(request)
    spec = checked(CollectionSpec, await read_json(request, most_items=FEW, empty={}))
    served = await (await _encoder(given, name, spec.model)).describe()
    check_model(spec.model, served)
    wanted = spec.model_dump(exclude_none=True, exclude={"model"})
    vouched = {"model": served.model, "fingerprint": served.fingerprint, "dim": served.dim}
    try:
        reply = await given.index.create(name, {**wanted, **vouched})
    except FingerprintMismatch as error:
        raise await _mismatch(given, name, spec.model or served.model) from error
    return JsonResponse({**reply.body, "model_status": "served"}, status_code=reply.status)


async def _mismatch(given: Services, name: str, model: str) -> FingerprintMismatch:
    described = await given.index.describe(name)
    return two_models(model, described["name"], described["model"])


async def _encoder(given: Services, name: str, model: str | None) -> Encoder:
    """A collection that is there keeps its model where the caller names none."""
    if model is None and given.models.several:
        with contextlib.suppress(UnknownCollection):
            return await given.models.of_collection(await given.index.describe(name))
    return await given.models.named(model)


@router.get("/v1/collections/{name}", responses=answers(CollectionAnswer, *READS))
async def describe_collection(request: Request, name: Name) -> JsonResponse:
    """Its model, engine, and how many items it holds."""
    given = services(request)
    (described,) = await with_status(given.models, [await given.index.describe(name)])
    return JsonResponse(described)


@router.get("/v1/collections/{name}/facets", responses=answers(FacetsAnswer, *READS))
async def count_facets(
    request: Request,
    name: Name,
    field: Annotated[list[str] | None, Query(max_length=16, examples=[["color"]], description=_FIELD)] = None,
    values: Annotated[int, Query(ge=1, le=1000, examples=[20], description="Most values of a field.")] = 20,
    filter_: Annotated[
        str | None, Query(alias="filter", examples=['{"color": "red"}'], description="Counts only what fits, as JSON.")
    ] = None,
) -> JsonResponse:
    """The values of metadata fields, the most frequent first, with exact counts of their items."""
    wanted = {"fields": field, "values": values, "filter": None if filter_ is None else _filter(filter_)}
    given = {key: value for key, value in wanted.items() if value is not None}
    return JsonResponse(await services(request).index.facets(name, given))


def _filter(text: str) -> dict[str, Any]:
    """Raises BadJson or InvalidRequest about `filter`."""
    try:
        return parse_json(text.encode())
    except BadInput as error:
        raise type(error)("`filter` is a JSON object", param="filter") from error


@router.get("/v1/collections/{name}/duplicates", responses=answers(DuplicatesAnswer, *READS))
async def list_duplicates(
    request: Request,
    name: Name,
    limit: Annotated[int, Query(ge=1, le=1000, examples=[100], description="Most groups of a page.")] = 100,
    after: Annotated[str | None, Query(description="The `next` of the page before.", examples=["9f86d0"])] = None,
) -> JsonResponse:
    """Items that were made from the same picture: groups with the same `digest` in their metadata, by digest."""
    return JsonResponse(await services(request).index.duplicates(name, {"limit": limit, "after": after}))


@router.get("/v1/collections/{name}/score_guidance", responses=answers(ScoreGuidanceAnswer, *ENCODES, *READS))
async def score_guidance(request: Request, name: Name) -> JsonResponse:
    """Which scores of text searches say little: those that texts without meaning reach in this collection, too."""
    return JsonResponse(await services(request).guidance.of(name))


@router.delete("/v1/collections/{name}", responses=answers(DroppedAnswer, *WRITES))
async def drop_collection(request: Request, name: Name) -> JsonResponse:
    """Delete it with all its items."""
    given = services(request)
    dropped: dict[str, Any] = await given.index.drop(name)
    given.sweeper.items_were_deleted()
    await asyncio.to_thread(given.pictures.folders.forget, name)
    return JsonResponse(dropped)
