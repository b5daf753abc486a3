"""Chats without a picture, by a server of one's own: both of OpenAI's forms, streams, schemas, and what it can't do."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from openai import OpenAI

from tests.gateway.fakes import picture_uri

SCHEMA: Any = {"type": "object", "properties": {"color": {"type": "string"}}, "required": ["color"]}


@pytest.fixture
def sdk(stack_of: Any, provider: Any, openai_server: Any) -> Iterator[OpenAI]:
    assert openai_server.asked == []
    stack = stack_of(chat_model_url=provider[1], llm_retries=0)
    with OpenAI(base_url=f"{stack.url}/v1", api_key="none", max_retries=0) as client:
        yield client


def user(text: str) -> Any:
    return [{"role": "user", "content": text}]


def test_both_forms(sdk: OpenAI, openai_server: Any) -> None:
    openai_server.reply = lambda asked: f"{asked.system}|{asked.texts[0]}"
    said = sdk.chat.completions.create(
        model="smollm2", messages=[{"role": "system", "content": "be brief"}, *user("hi")]
    )
    assert said.choices[0].message.content == "be brief|hi"
    assert said.usage is not None
    assert said.usage.prompt_tokens > 0
    assert sdk.responses.create(model="smollm2", input="hi", instructions="be brief").output_text == "be brief|hi"
    assert openai_server.asked[0].body["messages"][1]["content"] == "hi"
    turns: Any = [*user("a cat?"), {"role": "assistant", "content": "yes"}, *user("sure?")]
    told = sdk.chat.completions.create(model="smollm2", messages=turns).choices[0].message.content
    assert told == "|User: a cat?\nAssistant: yes\nUser: sure?"


def test_streams(sdk: OpenAI) -> None:
    chunks = list(sdk.chat.completions.create(model="smollm2", messages=user("hi"), stream=True))
    assert "".join(each.choices[0].delta.content or "" for each in chunks) == "a red circle"
    with sdk.responses.stream(model="smollm2", input="hi") as stream:
        assert stream.get_final_response().output_text == "a red circle"


def test_json_and_answers_that_are_cut(sdk: OpenAI, openai_server: Any) -> None:
    openai_server.reply = lambda _: '{"color": "red"}'
    form: Any = {"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA}}
    said = sdk.chat.completions.create(model="smollm2", messages=user("hi"), response_format=form)
    assert json.loads(said.choices[0].message.content or "") == {"color": "red"}
    assert openai_server.asked[0].schema == SCHEMA
    openai_server.failures = ["length"]
    cut = sdk.chat.completions.create(model="smollm2", messages=user("hi"), max_tokens=9)
    assert cut.choices[0].finish_reason == "length"
    assert openai_server.asked[1].body["max_tokens"] == 9


def test_errors(sdk: OpenAI, openai_server: Any) -> None:
    shown: Any = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": picture_uri("cat")}}]}]
    with pytest.raises(openai.BadRequestError, match="words only"):
        sdk.chat.completions.create(model="smollm2", messages=shown)
    with pytest.raises(openai.BadRequestError, match="no picture"):
        sdk.chat.completions.create(model="demo", messages=user("hi"))
    openai_server.failures = [(500, {})]
    with pytest.raises(openai.InternalServerError):
        sdk.chat.completions.create(model="smollm2", messages=user("hi"))
    openai_server.failures = ["half"]
    with (
        pytest.raises(openai.APIError),
        sdk.chat.completions.create(model="smollm2", messages=user("hi"), stream=True) as chunks,
    ):
        list(chunks)
