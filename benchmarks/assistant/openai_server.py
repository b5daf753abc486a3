"""A server that speaks OpenAI's API on loopback, counts tokens as documented, and fails as it is told."""

from __future__ import annotations

import asyncio
import base64
import io
import re
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import orjson
from PIL import Image
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from gateway.assistant.provider.image_tokens import ImageRule
from gateway.assistant.provider.prompt import ShownPicture

Json = dict[str, Any]
_PIECE = re.compile(r"\w{1,5}|[^\w\s]")


@dataclass
class AskedPrompt:
    """A request as the server reads it: all texts in order, and the pictures."""

    system: str
    texts: list[str]
    pictures: list[ShownPicture]
    schema: Json | None
    stream: bool
    headers: dict[str, str]
    body: Json


@dataclass
class OpenAiServer:
    """`reply` makes the text of an answer; `failures` are what the next calls meet instead, first come first served.

    A failure that is a dict is what the server says it counted.
    """

    reply: Callable[[AskedPrompt], str] = lambda _: "a red circle"
    failures: list[Any] = field(default_factory=list)
    asked: list[AskedPrompt] = field(default_factory=list)
    rule: ImageRule = field(default_factory=ImageRule)
    delay_s: float = 0.0
    usage: bool = True
    busy: int = 0
    busiest: int = 0

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/v1/chat/completions", self._chat, methods=["POST"]),
                Route("/v1/responses", self._responses, methods=["POST"]),
            ]
        )

    async def _chat(self, request: Request) -> Response:
        body = orjson.loads(await request.body())
        *rulers, user = body["messages"]
        system = rulers[0]["content"] if rulers else ""
        said = user["content"]
        parts: list[Json] = [{"type": "text", "text": said}] if isinstance(said, str) else said
        texts = [part["text"] for part in parts if part["type"] == "text"]
        pictures = [_picture(**part["image_url"]) for part in parts if part["type"] == "image_url"]
        schema = body.get("response_format", {}).get("json_schema", {}).get("schema")
        return await self._answer(request, AskedPrompt(system, texts, pictures, schema, *_about(request, body)))

    async def _responses(self, request: Request) -> Response:
        body = orjson.loads(await request.body())
        parts = body["input"][0]["content"]
        texts = [part["text"] for part in parts if part["type"] == "input_text"]
        pictures = [_picture(part["image_url"], part["detail"]) for part in parts if part["type"] == "input_image"]
        schema = body.get("text", {}).get("format", {}).get("schema")
        return await self._answer(
            request, AskedPrompt(body["instructions"], texts, pictures, schema, *_about(request, body))
        )

    async def _answer(self, request: Request, asked: AskedPrompt) -> Response:
        self.asked.append(asked)
        self.busy += 1
        self.busiest = max(self.busy, self.busiest)
        try:
            failure = self.failures.pop(0) if self.failures else None
            await asyncio.sleep(self.delay_s)
            if isinstance(failure, tuple):
                status, headers, *said = failure
                message = said[0] if said else f"failed with sk-secret123 ({status})"
                error = {"error": {"message": message, "type": "x", "code": "y"}}
                return Response(orjson.dumps(error), status, headers, "application/json")
            if failure == "html":
                return Response("<html>a proxy</html>", 200, media_type="text/html")
            chat = request.url.path.endswith("completions")
            if asked.stream:
                events = self._chat_events(asked, failure) if chat else self._response_events(asked, failure)
                return StreamingResponse(events, media_type="text/event-stream")
            answer = self._completion(asked, failure) if chat else self._response(asked, failure)
            return Response(orjson.dumps(answer), media_type="application/json")
        finally:
            self.busy -= 1

    def counted(self, asked: AskedPrompt) -> int:
        """Tokens of the input: of words by pieces of five letters, of pictures by the rule."""
        schema = orjson.dumps(asked.schema).decode() if asked.schema else ""
        text = sum(len(_PIECE.findall(each)) for each in (asked.system, *asked.texts, schema))
        return text + 8 + sum(map(self.rule.tokens, asked.pictures))

    def _completion(self, asked: AskedPrompt, failure: Any) -> Json:
        message: Json = {"role": "assistant", "content": self.reply(asked)}
        if failure == "refusal":
            message |= {"content": None, "refusal": "I won't"}
        finish = failure if failure in ("length", "content_filter") else "stop"
        choice = {"index": 0, "message": message, "finish_reason": finish}
        answer = {"id": "c1", "object": "chat.completion", "created": 1, "model": "m-2025-01-01", "choices": [choice]}
        usage = failure if isinstance(failure, dict) else self._chat_usage(asked)
        return answer | ({"usage": usage} if self.usage else {})

    def _chat_usage(self, asked: AskedPrompt) -> Json:
        prompt, output = self.counted(asked), len(_PIECE.findall(self.reply(asked)))
        details = {"cached_tokens": prompt // 2}
        return {
            "prompt_tokens": prompt,
            "completion_tokens": output,
            "total_tokens": prompt + output,
            "prompt_tokens_details": details,
        }

    def _response(self, asked: AskedPrompt, failure: Any) -> Json:
        content: Json = {"type": "output_text", "text": self.reply(asked), "annotations": []}
        if failure == "refusal":
            content = {"type": "refusal", "refusal": "I won't"}
        chat = self._chat_usage(asked)
        usage = {
            "input_tokens": chat["prompt_tokens"],
            "output_tokens": chat["completion_tokens"],
            "total_tokens": chat["total_tokens"],
            "input_tokens_details": chat["prompt_tokens_details"],
            "output_tokens_details": {"reasoning_tokens": 0},
        }
        message = {"type": "message", "id": "m1", "role": "assistant", "status": "completed", "content": [content]}
        status = "incomplete" if failure == "length" else "completed"
        about = {"id": "r1", "object": "response", "created_at": 1, "model": "m", "status": status, "error": None}
        rest = {"parallel_tool_calls": False, "tool_choice": "auto", "tools": []}
        return {**about, **rest, "output": [message], "usage": usage if self.usage else None}

    async def _chat_events(self, asked: AskedPrompt, failure: Any) -> AsyncIterator[bytes]:
        about = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
        text = self.reply(asked)
        if failure == "refusal":
            text = ""
            yield _event({**about, "choices": [{"index": 0, "delta": {"refusal": "I won't"}, "finish_reason": None}]})
        if failure == "lost":
            yield _event({**about, "choices": [_delta("")]})
            raise ConnectionResetError
        for start in range(0, len(text), 8):
            yield _event({**about, "choices": [_delta(text[start : start + 8])]})
            if failure == "half":
                return
            if failure == "cut":
                raise ConnectionResetError
        yield _event({**about, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
        if self.usage:
            yield _event({**about, "choices": [], "usage": self._chat_usage(asked)})
        yield b"data: [DONE]\n\n"

    async def _response_events(self, asked: AskedPrompt, failure: Any) -> AsyncIterator[bytes]:
        text = self.reply(asked)
        for start in range(0, len(text), 8):
            piece = {"item_id": "m1", "output_index": 0, "content_index": 0, "delta": text[start : start + 8]}
            yield _event({"type": "response.output_text.delta", "sequence_number": start, "logprobs": [], **piece})
            if failure == "half":
                return
        yield _event({"type": "response.completed", "sequence_number": 999, "response": self._response(asked, failure)})


def _about(request: Request, body: Json) -> tuple[bool, dict[str, str], Json]:
    return bool(body.get("stream")), dict(request.headers), body


def _delta(text: str) -> Json:
    return {"index": 0, "delta": {"content": text}, "finish_reason": None}


def _event(body: Json) -> bytes:
    named = f"event: {body['type']}\n".encode() if "type" in body else b""
    return named + b"data: " + orjson.dumps(body) + b"\n\n"


def _picture(url: str, detail: Any) -> ShownPicture:
    with Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))) as image:
        return ShownPicture(url, image.width, image.height, detail)
