"""POST /v1/chat/completions and /v1/responses: OpenAI's API, answered by the captioner of a served model."""

from __future__ import annotations

from contextlib import aclosing

from fastapi import APIRouter, Request
from starlette.responses import Response

from gateway.assistant.chat.conversation import parse_chat, parse_responses
from gateway.assistant.chat.openai_objects import (
    Pieces,
    chat_completion,
    chat_events,
    response_events,
    response_object,
)
from gateway.assistant.chat.served_chat import ChatSaid
from gateway.captions.event_stream import EventStream
from gateway.errors import JsonResponse
from gateway.routes.bodies import read_json
from gateway.routes.plain_route import StrictRoute
from gateway.schemas.chat import (
    CHAT_STREAM,
    RESPONSES_STREAM,
    ChatCompletion,
    ChatRequest,
    ResponseObject,
    ResponseRequest,
)
from gateway.schemas.openapi import ENCODES, Responses, answers, takes
from gateway.services import services

router = APIRouter(route_class=StrictRoute, tags=["assistant"])


def _answers(model: type[ChatCompletion] | type[ResponseObject], stream: str) -> Responses:
    documented = answers(model, *ENCODES)
    content = {"text/event-stream": {"schema": {"type": "string"}, "example": stream}}
    documented[200] = {**documented[200], "content": content}
    return documented


@router.post("/v1/chat/completions", responses=_answers(ChatCompletion, CHAT_STREAM), openapi_extra=takes(ChatRequest))
async def create_chat_completion(request: Request) -> Response:
    """Describe a picture, begin as asked, answer yes or no, choose, count, or fill a JSON schema: by a captioner."""
    given = services(request)
    asked = parse_chat(await read_json(request), given.parser)
    pieces = await given.chat.begin(asked)
    if asked.stream:
        return EventStream(chat_events(asked, await with_first(pieces)))
    return JsonResponse(chat_completion(asked, await _whole(pieces)))


@router.post(
    "/v1/responses", responses=_answers(ResponseObject, RESPONSES_STREAM), openapi_extra=takes(ResponseRequest)
)
async def create_response(request: Request) -> Response:
    """The same in the form of the Responses API. Nothing is stored."""
    given = services(request)
    asked = parse_responses(await read_json(request), given.parser)
    pieces = await given.chat.begin(asked)
    if asked.stream:
        return EventStream(response_events(asked, await with_first(pieces)))
    return JsonResponse(response_object(asked, await _whole(pieces)))


async def with_first(pieces: Pieces) -> Pieces:
    """The same, once the first is there: its failure is the answer's status. Raises ClipServeError."""
    try:
        first = await anext(pieces)
    except BaseException:
        await pieces.aclose()
        raise

    async def all_of_them() -> Pieces:
        async with aclosing(pieces):
            yield first
            async for piece in pieces:
                yield piece

    return all_of_them()


async def _whole(pieces: Pieces) -> ChatSaid:
    said = [piece async for piece in pieces]
    assert isinstance(said[-1], ChatSaid)
    return said[-1]
