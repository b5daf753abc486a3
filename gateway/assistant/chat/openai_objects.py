"""Answers in OpenAI's form: chat completions and their chunks, responses and their events."""

from __future__ import annotations

import time
import uuid
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from clip_core.errors import ClipServeError
from gateway.assistant.chat.conversation import Conversation
from gateway.assistant.chat.served_chat import ChatSaid
from gateway.captions.event_stream import data_event
from gateway.key_masking import without_keys

Json = dict[str, Any]
Pieces = AsyncGenerator[str | ChatSaid, None]
_DONE = b"data: [DONE]\n\n"


def chat_completion(asked: Conversation, said: ChatSaid) -> Json:
    message = {"role": "assistant", "content": said.text, "refusal": None}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": said.finish}
    return {**_about("chat.completion", asked), "choices": [choice], "usage": _chat_usage(said)}


async def chat_events(asked: Conversation, pieces: Pieces) -> AsyncGenerator[bytes, None]:
    """Chunks as server-sent events. An error in the middle is an event with `error`, which the SDK raises."""
    about = _about("chat.completion.chunk", asked)
    start: Json = {"role": "assistant", "content": ""}
    async with aclosing(pieces):
        yield data_event({**about, "choices": [_delta(start)]})
        try:
            async for piece in pieces:
                if isinstance(piece, str):
                    yield data_event({**about, "choices": [_delta({"content": piece})]})
                    continue
                yield data_event({**about, "choices": [_delta({}, piece.finish)]})
                if asked.with_usage:
                    yield data_event({**about, "choices": [], "usage": _chat_usage(piece)})
        except ClipServeError as error:
            yield data_event(_envelope(error))
    yield _DONE


def response_object(asked: Conversation, said: ChatSaid) -> Json:
    return _response(asked, _id("resp"), [_message(_id("msg"), said)], said)


async def response_events(asked: Conversation, pieces: Pieces) -> AsyncGenerator[bytes, None]:
    """The events of a response with one message of one text."""
    response, message = _id("resp"), _id("msg")
    at = {"item_id": message, "output_index": 0, "content_index": 0}
    begun, number = _response(asked, response, [], None), 0

    def event(kind: str, **fields: Any) -> bytes:
        nonlocal number
        number += 1
        told = {"type": kind, "sequence_number": number - 1, **fields}
        return f"event: {kind}\n".encode() + data_event(told)

    async with aclosing(pieces):
        yield event("response.created", response=begun)
        yield event("response.in_progress", response=begun)
        empty = {**_message(message, None), "status": "in_progress", "content": []}
        yield event("response.output_item.added", output_index=0, item=empty)
        yield event("response.content_part.added", **at, part=_part(""))
        try:
            async for piece in pieces:
                if isinstance(piece, str):
                    yield event("response.output_text.delta", **at, delta=piece, logprobs=[])
                    continue
                yield event("response.output_text.done", **at, text=piece.text, logprobs=[])
                yield event("response.content_part.done", **at, part=_part(piece.text))
                yield event("response.output_item.done", output_index=0, item=_message(message, piece))
                whole = _response(asked, response, [_message(message, piece)], piece)
                kind = "completed" if piece.finish == "stop" else "incomplete"
                yield event(f"response.{kind}", response=whole)
        except ClipServeError as error:
            failed = {"code": "server_error", "message": without_keys(error.message)}
            yield event("response.failed", response={**begun, "status": "failed", "error": failed})


def _about(kind: str, asked: Conversation) -> Json:
    return {"id": _id("chatcmpl"), "object": kind, "created": int(time.time()), "model": asked.model}


def _id(kind: str) -> str:
    return f"{kind}-{uuid.uuid4().hex}" if kind == "chatcmpl" else f"{kind}_{uuid.uuid4().hex}"


def _delta(delta: Json, finish: str | None = None) -> Json:
    return {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}


def _chat_usage(said: ChatSaid) -> Json:
    total = said.input_tokens + said.output_tokens
    return {"prompt_tokens": said.input_tokens, "completion_tokens": said.output_tokens, "total_tokens": total}


def _part(text: str) -> Json:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def _message(name: str, said: ChatSaid | None) -> Json:
    text = "" if said is None else said.text
    status = "completed" if said is None or said.finish == "stop" else "incomplete"
    return {"id": name, "type": "message", "role": "assistant", "status": status, "content": [_part(text)]}


def _response(asked: Conversation, name: str, output: list[Json], said: ChatSaid | None) -> Json:
    cut = said is not None and said.finish == "length"
    status = "in_progress" if said is None else ("incomplete" if cut else "completed")
    return {
        "id": name,
        "object": "response",
        "created_at": int(time.time()),
        "status": status,
        "error": None,
        "incomplete_details": {"reason": "max_output_tokens"} if cut else None,
        "instructions": None,
        "metadata": {},
        "model": asked.model,
        "output": output,
        "parallel_tool_calls": False,
        "temperature": None,
        "tool_choice": "none",
        "tools": [],
        "top_p": None,
        "usage": None if said is None else _response_usage(said),
    }


def _response_usage(said: ChatSaid) -> Json:
    return {
        "input_tokens": said.input_tokens,
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": said.output_tokens,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": said.input_tokens + said.output_tokens,
    }


def _envelope(error: ClipServeError) -> Json:
    error.message = without_keys(error.message)
    return error.to_dict()
