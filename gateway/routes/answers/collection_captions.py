"""Captions by the language model: of items that have none, of pictures that are sent; and what they cost."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request

from clip_core.errors import AssistantFailed, AssistantUnavailable, DeadlineExceeded, NoCaptioner, UnknownPrice
from clip_core.old_names.table import OLD_ROUTES
from clip_core.old_names.taking import old_names
from gateway.captions.wanted import parse_pictures
from gateway.errors import JsonResponse
from gateway.routes.bodies import read_model
from gateway.routes.collections import Name
from gateway.routes.plain_route import StrictRoute
from gateway.schemas.asking import (
    AssistantCaptionsAnswer,
    CaptionsCost,
    CollectionCaptionsAnswer,
    CollectionCaptionsRequest,
)
from gateway.schemas.base import tell_once
from gateway.schemas.captions import AssistantCaptionsRequest
from gateway.schemas.openapi import ENCODES, WRITES, answers, takes
from gateway.services import services

router = APIRouter(route_class=StrictRoute, tags=["items"])
_OLD = "/v1/captions/assistant"
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


@router.get("/v1/captions/cost", responses=answers(CaptionsCost, NoCaptioner))
async def captions_cost(
    request: Request,
    pictures: Annotated[int, Query(ge=0, le=10**9, examples=[1000], description="How many.")] = 1,
) -> JsonResponse:
    """What captions of so many pictures by the language model cost at most."""
    model = services(request).given_captions.assistant()
    return JsonResponse({"by": model.name, **model.expected(pictures)})


@router.post(
    "/v1/captions/llm",
    responses=answers(AssistantCaptionsAnswer, NoCaptioner, *ENCODES),
    openapi_extra=takes(AssistantCaptionsRequest),
)
async def caption_by_llm(request: Request) -> JsonResponse:
    """Captions of pictures by the language model; each has its own caption or error."""
    given, wanted = services(request), await read_model(request, AssistantCaptionsRequest)
    return JsonResponse(
        await given.given_captions.answer(parse_pictures(wanted, given.parser, given.settings.max_inputs))
    )


@router.post(_OLD, include_in_schema=False)
async def caption_by_assistant(request: Request) -> JsonResponse:
    """`caption_by_llm` by its old name."""
    tell_once("POST", *old_names([_OLD], OLD_ROUTES))
    return await caption_by_llm(request)
