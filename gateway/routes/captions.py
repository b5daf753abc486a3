"""POST /v1/captions and /v1/captions/score: what a picture shows, in words, and how well words fit it."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

from fastapi import APIRouter, Request
from starlette.responses import Response

from clip_core.errors import ClipServeError, NotFound
from gateway.captions.answers import DONE, caption_answer, check_of_call, event_bytes, of_call, score_answer
from gateway.captions.captioning import PictureEvent
from gateway.captions.event_stream import EventStream
from gateway.captions.wanted import caption_work, parse_pictures, score_work
from gateway.errors import JsonResponse
from gateway.models.registry import RegisteredModel
from gateway.routes.bodies import checked, read_body
from gateway.routes.plain_route import StrictRoute
from gateway.schemas.captions import STREAM, CaptionAnswer, CaptionsRequest, ScoreAnswer, ScoreRequest
from gateway.schemas.openapi import ENCODES, Responses, answers, takes
from gateway.services import Services, services

router = APIRouter(route_class=StrictRoute, tags=["captions"])
_PICTURES = {"image": "file", "images": "files", "model": "string"}
_FORM = {**_PICTURES, "prompt": "string", "method": "string", "max_tokens": "integer", "stream": "boolean"}
_STREAM = {"text/event-stream": {"schema": {"type": "string"}, "example": STREAM}}
_ANSWERS: Responses = answers(CaptionAnswer, *ENCODES, NotFound)
_ANSWERS[200] = {**_ANSWERS[200], "content": _STREAM}


@router.post("/v1/captions", responses=_ANSWERS, openapi_extra=takes(CaptionsRequest, form=_FORM))
async def create_captions(request: Request) -> Response:
    """Captions of a picture or of several; with `stream` as server-sent events while they are made."""
    given = services(request)
    wanted = checked(CaptionsRequest, await read_body(request, given.parser))
    pictures = parse_pictures(wanted, given.parser, given.settings.max_inputs)
    work, lone = caption_work(wanted, stream=wanted.stream), wanted.images is None
    model = await _model(given, wanted.model)
    if wanted.stream:
        return await _streamed(given.captioning.events(model, pictures, work), model.encoder.name, lone)
    captioned = await given.captioning.run(model, pictures, work)
    check_of_call(captioned.outcomes, lone)
    return JsonResponse(caption_answer(captioned, model.encoder.name))


@router.post(
    "/v1/captions/score",
    responses=answers(ScoreAnswer, *ENCODES, NotFound),
    openapi_extra=takes(ScoreRequest, form={**_PICTURES, "texts": "string"}),
)
async def score_captions(request: Request) -> JsonResponse:
    """log P(text | picture) for each of the texts, by the captioner that would write them."""
    given = services(request)
    wanted = checked(ScoreRequest, await read_body(request, given.parser))
    pictures = parse_pictures(wanted, given.parser, given.settings.max_inputs)
    work = score_work(wanted, given.settings.max_inputs)
    model = await _model(given, wanted.model)
    captioned = await given.captioning.run(model, pictures, work)
    check_of_call(captioned.outcomes, lone=wanted.images is None)
    return JsonResponse(score_answer(captioned, model.encoder.name, work))


async def _model(given: Services, name: str | None) -> RegisteredModel:
    """Raises NoModel, UnknownModel."""
    return given.models.default() if name is None else await given.models.find(name)


async def _streamed(events: AsyncGenerator[PictureEvent, None], model: str, lone: bool) -> EventStream:
    """The status is that of the first event. Raises ClipServeError where that is the call's error."""
    try:
        first = await anext(events)
        if isinstance(first.told, ClipServeError) and (lone or of_call(first.told)):
            raise first.told
    except BaseException:
        await events.aclose()
        raise
    return EventStream(_written(first, events, model))


async def _written(
    first: PictureEvent, events: AsyncGenerator[PictureEvent, None], model: str
) -> AsyncGenerator[bytes, None]:
    async with aclosing(events):
        yield event_bytes(first, model)
        async for event in events:
            yield event_bytes(event, model)
        yield DONE
