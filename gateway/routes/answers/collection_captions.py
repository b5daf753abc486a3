"""POST /v1/collections/{name}/captions: captions for the items that have none."""

from __future__ import annotations

from fastapi import APIRouter, Request

from clip_core.errors import AssistantFailed, AssistantUnavailable, DeadlineExceeded, UnknownPrice
from gateway.errors import JsonResponse
from gateway.routes.bodies import read_model
from gateway.routes.collections import Name
from gateway.routes.plain_route import StrictRoute
from gateway.schemas.asking import CollectionCaptionsAnswer, CollectionCaptionsRequest
from gateway.schemas.openapi import WRITES, answers, takes
from gateway.services import services

router = APIRouter(route_class=StrictRoute, tags=["items"])
_ERRORS = (*WRITES, AssistantFailed, AssistantUnavailable, DeadlineExceeded, UnknownPrice)


@router.post(
    "/v1/collections/{name}/captions",
    responses=answers(CollectionCaptionsAnswer, *_ERRORS),
    openapi_extra=takes(CollectionCaptionsRequest),
)
async def caption_collection(request: Request, name: Name) -> JsonResponse:
    """Caption a page of items that have none, by the language model or a captioner; `dry_run` says what it costs."""
    given, wanted = services(request), await read_model(request, CollectionCaptionsRequest)
    return JsonResponse(await given.collection_captions.run(name, wanted))
