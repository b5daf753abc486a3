"""/v1/collections: create, describe, list, drop."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Request

from gateway.bodies import checked, parse_json
from gateway.clients import COLLECTION_NAME
from gateway.collection_schemas import CollectionAnswer, CollectionsAnswer, CollectionSpec, DroppedAnswer
from gateway.encoder import check_model
from gateway.errors import JsonResponse
from gateway.keys import current_key
from gateway.openapi import ENCODES, READS, WRITES, answers, takes
from gateway.services import services

router = APIRouter(tags=["collections"])
Name = Annotated[str, Path(pattern=f"^{COLLECTION_NAME}$", description="The collection's name.", examples=["demo"])]


@router.get("/v1/collections", responses=answers(CollectionsAnswer))
async def list_collections(request: Request) -> JsonResponse:
    """All collections that the key may use, described."""
    answer = await services(request).index.collections()
    key = current_key()
    return JsonResponse({"collections": [each for each in answer["collections"] if key.may_use(each["name"])]})


@router.put(
    "/v1/collections/{name}",
    responses={**answers(CollectionAnswer, *ENCODES, *WRITES), 201: {"model": CollectionAnswer}},
    openapi_extra=takes(CollectionSpec),
)
async def create_collection(request: Request, name: Name) -> JsonResponse:
    """Create it for the model that is served now: 201, or 200 when it is there already."""
    given = services(request)
    content = await request.body()
    spec = checked(CollectionSpec, parse_json(content) if content else {})
    served = await given.encoder.describe()
    check_model(spec.model, served)
    wanted = spec.model_dump(exclude_none=True, exclude={"model"})
    vouched = {"model": served.model, "fingerprint": served.fingerprint, "dim": served.dim}
    reply = await given.index.create(name, {**wanted, **vouched})
    return JsonResponse(reply.body, status_code=reply.status)


@router.get("/v1/collections/{name}", responses=answers(CollectionAnswer, *READS))
async def describe_collection(request: Request, name: Name) -> JsonResponse:
    """Its model, engine, and how many items it holds."""
    return JsonResponse(await services(request).index.describe(name))


@router.delete("/v1/collections/{name}", responses=answers(DroppedAnswer, *WRITES))
async def drop_collection(request: Request, name: Name) -> JsonResponse:
    """Delete it with all its items."""
    dropped: dict[str, Any] = await services(request).index.drop(name)
    return JsonResponse(dropped)
