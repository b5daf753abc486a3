"""A model by llama.cpp as a server that speaks OpenAI's chat completions, one chat at a time.

It is started as a file, by the Python of an environment that has llama-cpp-python and nothing of ours
(requirements/local-llm.lock). That package's own server knows no `json_schema`, and counts nothing in streams.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import uvicorn
from llama_cpp import Llama
from starlette.applications import Starlette
from starlette.concurrency import iterate_in_threadpool, run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

Json = dict[str, Any]
_ROLES = ("system", "user", "assistant")
_PASSED = ("temperature", "top_p", "seed", "stop")
_MOST = 1024  # tokens of an answer


class Chats:
    """A chat waits for the one before it: the model computes on all of its threads."""

    def __init__(self, model: Llama, name: str) -> None:
        self._model, self._name = model, name
        self._turn = asyncio.Lock()

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/v1/chat/completions", self._answer, methods=["POST"]),
                Route("/v1/models", self._models, methods=["GET"]),
            ]
        )

    async def _models(self, _: Request) -> Response:
        return JSONResponse({"object": "list", "data": [{"id": self._name, "object": "model"}]})

    async def _answer(self, request: Request) -> Response:
        try:
            body = json.loads(await request.body())
            options = _options(body)
            if body.get("stream"):
                events = self._events(options)
                first = await anext(events)
                return StreamingResponse(_after(first, events), media_type="text/event-stream")
            async with self._turn:
                said = await run_in_threadpool(self._model.create_chat_completion, **options)
        except (ValueError, TypeError, AttributeError, KeyError) as error:  # a body that is none, or a chat too long
            return JSONResponse(_error(str(error)[:300]), 400)
        return JSONResponse({**said, "model": self._name})

    async def _events(self, options: Json) -> AsyncIterator[bytes]:
        async with self._turn:
            chunks = await run_in_threadpool(self._model.create_chat_completion, stream=True, **options)
            told, last = 0, {}
            async for chunk in iterate_in_threadpool(chunks):
                last = {**chunk, "model": self._name}
                told += bool(chunk["choices"][0]["delta"].get("content"))
                yield _event(last)
            usage = {"prompt_tokens": max(0, self._model.n_tokens - told), "completion_tokens": told}
            total = usage["prompt_tokens"] + told
            yield _event({**last, "choices": [], "usage": {**usage, "total_tokens": total}})
        yield b"data: [DONE]\n\n"


async def _after(first: bytes, events: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for event in events:
        yield event


def _options(body: Json) -> Json:
    """What llama.cpp is asked for. Raises ValueError."""
    tokens = body.get("max_tokens") or body.get("max_completion_tokens") or _MOST
    options: Json = {"messages": [_message(each) for each in body["messages"]], "max_tokens": min(int(tokens), _MOST)}
    options["temperature"] = 0.0
    options |= {name: body[name] for name in _PASSED if body.get(name) is not None}
    form = body.get("response_format") or {}
    if form.get("type") == "json_schema":
        options["response_format"] = {"type": "json_object", "schema": form["json_schema"]["schema"]}
    elif form.get("type") == "json_object":
        options["response_format"] = {"type": "json_object"}
    return options


def _message(given: Json) -> Json:
    role, content = given["role"], given["content"]
    if role not in _ROLES:
        raise ValueError(f"a message's role is one of {', '.join(_ROLES)}")
    if isinstance(content, list):
        content = "\n".join(part["text"] for part in content)
    if not isinstance(content, str):
        raise ValueError("a message's content is a text")
    return {"role": role, "content": content}


def _error(message: str) -> Json:
    return {"error": {"message": message, "type": "invalid_request_error", "param": None, "code": "invalid_request"}}


def _event(told: Json) -> bytes:
    return b"data: " + json.dumps(told).encode() + b"\n\n"


def main() -> None:
    """Serve until a signal."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True)
    parser.add_argument("--name", required=True)
    for option in ("--port", "--threads", "--context"):
        parser.add_argument(option, type=int, required=True)
    given = parser.parse_args()
    threads = {"n_threads": given.threads, "n_threads_batch": given.threads}
    model = Llama(given.model, n_ctx=given.context, **threads, verbose=False)
    uvicorn.run(Chats(model, given.name).app(), host="127.0.0.1", port=given.port, log_level="warning")


if __name__ == "__main__":
    main()
