"""/v1/aliases: second names of collections, pointed elsewhere at once."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Request

from clip_core.errors import Conflict, NotFound, UnknownCollection
from clip_core.wire import COLLECTION_NAME
from gateway.errors import JsonResponse
from gateway.keys.api_key import current_key
from gateway.routes.bodies import read_model
from gateway.routes.plain_route import StrictRoute
from gateway.schemas.collections import AliasAnswer, AliasesAnswer, AliasSpec, DroppedAnswer
from gateway.schemas.openapi import WRITES, answers, takes
from gateway.services import services

router = APIRouter(route_class=StrictRoute, tags=["collections"])
Alias = Annotated[str, Path(pattern=f"^{COLLECTION_NAME}$", description="The alias.", examples=["shapes"])]


@router.get("/v1/aliases", responses=answers(AliasesAnswer))
async def list_aliases(request: Request) -> JsonResponse:
    """All aliases that the key may use, with their collections."""
    found = await services(request).index.aliases()
    key = current_key()
    return JsonResponse({"aliases": [each for each in found if key.may_use(each["name"])]})


@router.get("/v1/aliases/{name}", responses=answers(AliasAnswer, NotFound))
async def show_alias(request: Request, name: Alias) -> JsonResponse:
    """The collection that it leads to."""
    found = next((each for each in await services(request).index.aliases() if each["name"] == name), None)
    if found is None:
        raise NotFound(f"there is no alias {name!r}", param="name")
    return JsonResponse(found)


@router.put(
    "/v1/aliases/{name}", responses=answers(AliasAnswer, UnknownCollection, *WRITES), openapi_extra=takes(AliasSpec)
)
async def set_alias(request: Request, name: Alias) -> JsonResponse:
    """Point it to a collection, at once: a search is answered by the old one or by the new one."""
    wanted = await read_model(request, AliasSpec)
    current_key().check_collection(wanted.collection)
    return JsonResponse(await services(request).index.set_alias(name, wanted.collection))


@router.delete("/v1/aliases/{name}", responses=answers(DroppedAnswer, NotFound, Conflict))
async def drop_alias(request: Request, name: Alias) -> JsonResponse:
    """Remove it; its collection stays."""
    return JsonResponse(await services(request).index.drop_alias(name))
