"""The official `openai` package, unchanged, against the gateway's chat completions and Responses."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import openai
from openai import OpenAI

from benchmarks.assistant.hidden_orders import plain_picture

Check = Callable[[OpenAI, str], None]
_AT_ONCE = 8
_REFUSED = "clipserve_gateway_shed_total"
_SCHEMA: Any = {
    "type": "object",
    "properties": {"shape": {"type": "string", "enum": ["circle", "star"]}, "caption": {"type": "string"}},
    "required": ["shape", "caption"],
    "additionalProperties": False,
}


def broken(gateway: str, model: str) -> list[str]:
    """The names of what does not work."""
    with OpenAI(base_url=f"{gateway}/v1", api_key="none", max_retries=1) as client:
        found = [_broken(check, client, model) for check in _CHECKS]
    return [each for each in found if each is not None]


def retries_broken(gateway: str, model: str) -> list[str]:
    """Of a gateway that lets one picture through at a time: many at once are refused, sent again, and answered."""

    def ask(_: int) -> str | None:
        with OpenAI(base_url=f"{gateway}/v1", api_key="none", max_retries=10) as client:
            return _broken(_chat, client, model)

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        found = [each for each in pool.map(ask, range(_AT_ONCE)) if each is not None]
    metrics = httpx.get(f"{gateway}/metrics").text
    refused = sum(float(line.split()[-1]) for line in metrics.splitlines() if line.startswith(_REFUSED))
    return found or ([] if refused else ["_retries: nothing was refused, so nothing was sent again"])


def _broken(check: Check, client: OpenAI, model: str) -> str | None:
    try:
        check(client, model)
    except (AssertionError, openai.OpenAIError, ValueError, AttributeError) as error:
        return f"{check.__name__}: {error!r}"
    return None


def _url() -> str:
    return "data:image/png;base64," + base64.b64encode(plain_picture()).decode()


def _messages() -> Any:
    picture = {"type": "image_url", "image_url": {"url": _url()}}
    return [{"role": "user", "content": [{"type": "text", "text": "What is in this picture?"}, picture]}]


def _input() -> Any:
    picture = {"type": "input_image", "image_url": _url(), "detail": "auto"}
    return [{"role": "user", "content": [{"type": "input_text", "text": "What is in this picture?"}, picture]}]


def _chat(client: OpenAI, model: str) -> None:
    assert client.chat.completions.create(model=model, messages=_messages()).choices[0].message.content


def _responses(client: OpenAI, model: str) -> None:
    assert client.responses.create(model=model, input=_input()).output_text


def _chat_stream(client: OpenAI, model: str) -> None:
    with client.chat.completions.stream(model=model, messages=_messages()) as stream:
        assert stream.get_final_completion().choices[0].message.content


def _responses_stream(client: OpenAI, model: str) -> None:
    with client.responses.stream(model=model, input=_input()) as stream:
        assert stream.get_final_response().output_text


def _chat_schema(client: OpenAI, model: str) -> None:
    form: Any = {"type": "json_schema", "json_schema": {"name": "facts", "strict": True, "schema": _SCHEMA}}
    said = client.chat.completions.create(model=model, messages=_messages(), response_format=form)
    assert json.loads(said.choices[0].message.content or "")["shape"] in ("circle", "star")


def _responses_schema(client: OpenAI, model: str) -> None:
    text: Any = {"format": {"type": "json_schema", "name": "facts", "strict": True, "schema": _SCHEMA}}
    assert json.loads(client.responses.create(model=model, input=_input(), text=text).output_text)["caption"]


def _unknown_model(client: OpenAI, _: str) -> None:
    try:
        client.chat.completions.create(model="nobodys", messages=_messages())
    except openai.NotFoundError:
        return
    raise AssertionError("an unknown model was answered")


def _bad_request(client: OpenAI, model: str) -> None:
    try:
        client.responses.create(model=model, input="there is no picture")
    except openai.BadRequestError:
        return
    raise AssertionError("a question without a picture was answered")


_CHECKS: tuple[Check, ...] = (
    _chat,
    _responses,
    _chat_stream,
    _responses_stream,
    _chat_schema,
    _responses_schema,
    _unknown_model,
    _bad_request,
)
