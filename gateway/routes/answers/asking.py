"""POST /v1/ask: an answer to a question about a collection's pictures, with the pictures that show it."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from clip_core.errors import (
    AssistantFailed,
    AssistantUnavailable,
    ClipServeError,
    DeadlineExceeded,
    UnknownCollection,
    UnknownPrice,
)
from gateway.captions.answers import DONE
from gateway.captions.event_stream import EventStream, data_event
from gateway.errors import JsonResponse
from gateway.key_masking import without_keys
from gateway.routes.bodies import checked, read_body
from gateway.routes.plain_route import StrictRoute
from gateway.schemas.asking import ASK_STREAM, AskAnswer, AskRequest
from gateway.schemas.openapi import ENCODES, Responses, answers, takes
from gateway.services import services

router = APIRouter(route_class=StrictRoute, tags=["assistant"])
_FORM = {"question": "string", "collection": "string", "image": "file", "k": "integer", "filter": "string"}
_STREAM = {"text/event-stream": {"schema": {"type": "string"}, "example": ASK_STREAM}}
_ERRORS = (UnknownCollection, AssistantFailed, AssistantUnavailable, DeadlineExceeded, UnknownPrice)
_ANSWERS: Responses = answers(AskAnswer, *ENCODES, *_ERRORS)
_ANSWERS[200] = {**_ANSWERS[200], "content": _STREAM}


@router.post("/v1/ask", responses=_ANSWERS, openapi_extra=takes(AskRequest, form=_FORM))
async def ask(request: Request) -> Response:
    """Answer a question from a collection's pictures, and cite those that show it; "not in these pictures" otherwise.

    With `stream`, server-sent events: the hits, pieces of the text, the whole answer.
    """
    given = services(request)
    wanted = checked(AskRequest, await read_body(request, given.parser))
    if not wanted.stream:
        return JsonResponse(await given.asker.ask(wanted))
    events = given.asker.events(wanted)
    try:
        first = await anext(events)
    except BaseException:
        await events.aclose()
        raise
    return EventStream(_written(first, events))


async def _written(first: dict[str, Any], events: AsyncGenerator[dict[str, Any], None]) -> AsyncGenerator[bytes, None]:
    """An error after the hits is an event of its own, and the last one but for the end."""
    yield data_event(first)
    async with aclosing(events):
        try:
            async for event in events:
                yield data_event(event)
        except ClipServeError as error:
            error.message = without_keys(error.message)
            yield b"event: error\n" + data_event(error.to_dict())
    yield DONE
