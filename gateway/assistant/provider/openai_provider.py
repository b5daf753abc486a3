"""A server that speaks OpenAI's API (chat completions or Responses), asked through the `openai` package.

The package is loaded with the first question: importing it takes half a second. It sends again what it knows to be
worth it (408, 409, 429, 5xx, lost connections); nothing is sent again above it, since each try may be billed.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import AsyncGenerator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

import orjson

from clip_core.errors import AssistantFailed, AssistantRefused, ClipServeError
from gateway.assistant.provider.prompt import Completion, Json, Prompt, ShownPicture, TokenUse
from gateway.assistant.provider.provider_failures import failure_of, failure_of_waiting, masked
from gateway.trace import current_trace

if TYPE_CHECKING:
    from openai import AsyncOpenAI

Api = Literal["chat", "responses"]
_LONGEST = 200_000  # characters of an answer that comes in pieces
_MOST_TOKENS = 10**9  # that a provider may say it counted
_refused: ContextVar[list[Any]] = ContextVar("refused")  # the last answer to this question, while no try is under way
_SCHEMA_NAME = "answer"
_NEW_NAMES = (".openai.com", ".azure.com")  # hosts that call the limit of an answer `max_completion_tokens`


@dataclass(frozen=True)
class ProviderOptions:
    """`retries` are the package's own; `timeout_s` is for a whole answer, with them."""

    url: str
    api_key: str
    model: str
    api: Api = "chat"
    timeout_s: float = 60.0
    retries: int = 2


class OpenAiProvider:
    """To be closed."""

    def __init__(self, options: ProviderOptions) -> None:
        self.options = options
        self.loaded = False

    @cached_property
    def _client(self) -> AsyncOpenAI:
        from openai import AsyncOpenAI, DefaultAsyncHttpxClient

        from gateway.assistant.provider.bounded_answers import bound_answer

        given = self.options
        client = AsyncOpenAI(
            base_url=given.url,
            api_key=given.api_key or "none",  # servers on one's own machine want none, the package wants one
            organization="",  # else the package looks for both in the environment
            project="",
            timeout=given.timeout_s,
            max_retries=given.retries,
            http_client=DefaultAsyncHttpxClient(
                event_hooks={"request": [_note_try], "response": [_note_refusal, bound_answer]}
            ),
        )
        client.organization = client.project = None  # else it sends headers that are empty
        return client

    async def _load(self) -> None:
        """Off the event loop: it takes half a second. The package's logs hold whole questions."""
        if not self.loaded:
            await asyncio.to_thread(import_module, "openai")
            for name in ("openai", "httpx2", "httpcore2"):
                logging.getLogger(name).setLevel(logging.WARNING)
            self.loaded = True

    @property
    def _api(self) -> Any:
        """What is sent is made from dicts, which the package's types can't follow."""
        return self._client

    async def close(self) -> None:
        if self.loaded:
            await self._client.close()

    async def stream(self, prompt: Prompt, *, streamed: bool = True) -> AsyncGenerator[str | Completion, None]:
        """Pieces of the answer's text as they come, last the whole.

        Raises AssistantFailed, AssistantRefused, AssistantUnauthorized, AssistantUnavailable, Overloaded or
        DeadlineExceeded, also in the middle.
        """
        await self._load()
        refused: list[Any] = []
        _refused.set(refused)
        pieces = self._responses(prompt, streamed) if self.options.api == "responses" else self._chat(prompt, streamed)
        ends, begun, told = asyncio.get_running_loop().time() + self._seconds(), False, 0
        try:
            while True:
                piece = await _next_before(ends, pieces)
                begun, told = True, told + (len(piece) if isinstance(piece, str) else 0)
                if told > _LONGEST:
                    raise AssistantFailed("the language model's answer does not end")
                yield piece
        except StopAsyncIteration:
            return
        except asyncio.TimeoutError as error:
            raise failure_of_waiting(refused[-1] if refused else None) from error
        except ClipServeError:
            raise
        except Exception as error:  # of the package, of httpx below it, and of pydantic; it may quote our own key
            raise (_broken_off() if begun else failure_of(error, self.options.api_key)) from None
        finally:
            await pieces.aclose()

    def _seconds(self) -> float:
        left = current_trace().seconds_left()
        return self.options.timeout_s if left is None else min(left, self.options.timeout_s)

    async def _chat(self, prompt: Prompt, streamed: bool) -> AsyncGenerator[str | Completion, None]:
        asked, completions = self._chat_request(prompt), self._api.chat.completions
        if not streamed:
            answer = await completions.create(**asked)
            yield _chat_completion(answer, prompt)
            return
        whole = _Whole(self.options.model)
        more = {"stream": True, "stream_options": {"include_usage": True}}
        opened = await completions.create(**asked, **more)
        async with opened as chunks:
            async for chunk in chunks:
                piece = whole.chat_chunk(chunk)
                if piece:
                    yield piece
        yield whole.completion(prompt)

    async def _responses(self, prompt: Prompt, streamed: bool) -> AsyncGenerator[str | Completion, None]:
        asked, responses = self._responses_request(prompt), self._api.responses
        if not streamed:
            answer = await responses.create(**asked)
            yield _response_completion(answer, prompt, self.options.api_key)
            return
        opened = await responses.create(**asked, stream=True)
        last: Any = None
        async with opened as events:
            async for event in events:
                if event.type == "response.output_text.delta":
                    yield event.delta
                elif event.type in ("response.completed", "response.incomplete", "response.failed"):
                    last = event.response
                elif event.type == "error":
                    raise _failed(event.message, self.options.api_key)
        if last is None:
            raise _broken_off()
        yield _response_completion(last, prompt, self.options.api_key)

    def _chat_request(self, prompt: Prompt) -> Json:
        host = urlsplit(self.options.url).hostname or ""
        limit = "max_completion_tokens" if host.endswith(_NEW_NAMES) else "max_tokens"
        asked: Json = {
            "model": self.options.model,
            "messages": [
                *([{"role": "system", "content": prompt.system}] if prompt.system else []),
                {"role": "user", "content": _chat_content(prompt)},
            ],
            limit: prompt.max_tokens,
            "extra_headers": _headers(),
        }
        if prompt.schema is not None:
            named = {"name": _SCHEMA_NAME, "strict": True, "schema": prompt.schema}
            asked["response_format"] = {"type": "json_schema", "json_schema": named}
        return asked

    def _responses_request(self, prompt: Prompt) -> Json:
        asked: Json = {
            "model": self.options.model,
            "instructions": prompt.system,
            "input": [{"role": "user", "content": [_response_part(part) for part in prompt.parts]}],
            "max_output_tokens": prompt.max_tokens,
            "store": False,
            "extra_headers": _headers(),
        }
        if prompt.schema is not None:
            named = {"type": "json_schema", "name": _SCHEMA_NAME, "strict": True, "schema": prompt.schema}
            asked["text"] = {"format": named}
        return asked


class _Whole:
    """A chat answer that comes in chunks."""

    def __init__(self, model: str) -> None:
        self._model, self._text, self._refusal = model, "", ""
        self._finish: str | None = None
        self._use: Any = None

    def chat_chunk(self, chunk: Any) -> str:
        self._model = chunk.model or self._model
        self._use = chunk.usage or self._use
        piece = ""
        for choice in chunk.choices[:1]:
            piece = choice.delta.content or ""
            self._refusal += getattr(choice.delta, "refusal", None) or ""
            self._finish = choice.finish_reason or self._finish
        self._text += piece
        return piece

    def completion(self, prompt: Prompt) -> Completion:
        if self._finish is None:
            raise _broken_off()
        return _checked(self._text, self._refusal, self._finish, _chat_use(self._use), self._model, prompt)


def _chat_content(prompt: Prompt) -> str | list[Json]:
    """Words alone as a string: some servers take nothing else."""
    if len(prompt.parts) == 1 and isinstance(prompt.parts[0], str):
        return prompt.parts[0]
    return [_chat_part(part) for part in prompt.parts]


def _chat_part(part: str | ShownPicture) -> Json:
    if isinstance(part, str):
        return {"type": "text", "text": part}
    return {"type": "image_url", "image_url": {"url": part.url, "detail": part.detail}}


def _response_part(part: str | ShownPicture) -> Json:
    if isinstance(part, str):
        return {"type": "input_text", "text": part}
    return {"type": "input_image", "image_url": part.url, "detail": part.detail}


def _headers() -> Mapping[str, str]:
    """The same key in each try of the package, so that a provider that knows such keys bills once."""
    return {"Idempotency-Key": uuid.uuid4().hex}


def _chat_completion(answer: Any, prompt: Prompt) -> Completion:
    if not getattr(answer, "choices", None):
        raise AssistantFailed("the language model's provider gave an answer that is none of a chat")
    choice = answer.choices[0]
    message = choice.message
    refusal = getattr(message, "refusal", None) or ""
    return _checked(message.content or "", refusal, choice.finish_reason, _chat_use(answer.usage), answer.model, prompt)


def _response_completion(answer: Any, prompt: Prompt, own_key: str) -> Completion:
    if not isinstance(getattr(answer, "output", None), list):
        raise AssistantFailed("the language model's provider gave an answer that is none of the Responses API")
    parts = [part for item in answer.output if item.type == "message" for part in item.content]
    text = "".join(part.text for part in parts if part.type == "output_text")
    refusal = "".join(part.refusal for part in parts if part.type == "refusal")
    if answer.status == "failed":
        raise _failed(answer.error and answer.error.message, own_key)
    finish = {"completed": "stop"}.get(answer.status, "length")
    return _checked(text, refusal, finish, _response_use(answer.usage), answer.model, prompt)


def _chat_use(usage: Any) -> TokenUse:
    if usage is None:
        return TokenUse()
    return _use(usage.prompt_tokens, usage.completion_tokens, getattr(usage, "prompt_tokens_details", None))


def _response_use(usage: Any) -> TokenUse:
    if usage is None:
        return TokenUse()
    return _use(usage.input_tokens, usage.output_tokens, getattr(usage, "input_tokens_details", None))


def _use(given: Any, made: Any, details: Any) -> TokenUse:
    """Nothing where the counts can't be ones: then the estimate is what it cost."""
    cached, images = getattr(details, "cached_tokens", None), getattr(details, "image_tokens", None)
    counts = [0 if count is None else count for count in (given, made, cached, images)]
    if not all(type(count) is int and 0 <= count <= _MOST_TOKENS for count in counts):
        return TokenUse()
    return TokenUse(*counts)


def _checked(text: str, refusal: str, finish: str | None, use: TokenUse, model: str, prompt: Prompt) -> Completion:
    """Whole, not refused, and JSON where a schema was given. What else the schema says the asker checks.

    What fails here was billed: the error carries it as `use`.
    """
    found: Completion | ClipServeError
    if refusal or finish == "content_filter":
        found = AssistantRefused(f"the language model refuses to answer: {refusal[:300] or 'its filter stopped it'}")
    elif finish == "length" and prompt.may_be_cut:
        found = Completion(text, use, model, cut=True)
    elif finish == "length":
        found = AssistantFailed("the language model's answer was cut off: raise CLIPSERVE_GATEWAY_LLM_MAX_TOKENS")
    else:
        found = _read(text, use, model, prompt)
    if isinstance(found, AssistantFailed):
        found.use = use
        raise found
    assert isinstance(found, Completion)
    return found


def _read(text: str, use: TokenUse, model: str, prompt: Prompt) -> Completion | AssistantFailed:
    if prompt.schema is None:
        return Completion(text, use, model)
    try:
        data = orjson.loads(text)
    except orjson.JSONDecodeError:
        return AssistantFailed("the language model answered with something that is not JSON")
    if not isinstance(data, dict):
        return AssistantFailed("the language model answered with JSON that is no object")
    return Completion(text, use, model, data)


async def _note_try(_: Any) -> None:
    _refused.get([]).clear()


async def _note_refusal(response: Any) -> None:
    """What the package waits after, before it tries again."""
    if response.is_error:
        _refused.get([]).append(response)


async def _next_before(ends: float, pieces: AsyncGenerator[str | Completion, None]) -> str | Completion:
    """Also where each piece is there at once, so that nothing ever waits. Raises TimeoutError."""
    left = ends - asyncio.get_running_loop().time()
    if left <= 0:
        raise asyncio.TimeoutError
    return await asyncio.wait_for(anext(pieces), left)


def _failed(said: Any, own_key: str) -> AssistantFailed:
    return AssistantFailed(f"the language model's provider failed: {masked(str(said), own_key)}")


def _broken_off() -> AssistantFailed:
    return AssistantFailed("the language model's provider broke off its answer")
