"""OpenAI's own package against /v1/chat/completions and /v1/responses."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest
from openai import OpenAI

from gateway.assistant.chat.choices import options_of
from tests.gateway.conftest import Stack
from tests.gateway.fakes import PNG

SCHEMA = {
    "type": "object",
    "properties": {
        "shape": {"type": "string", "enum": ["square", "circle", "star"]},
        "caption": {"type": "string"},
        "circles": {"type": "integer", "minimum": 1},
        "is_circle": {"type": "boolean"},
        "tags": {"type": "array", "items": {"enum": ["red", "circle"]}},
        "inner": {"anyOf": [{"type": "object", "properties": {"kind": {"const": "x"}}}, {"type": "null"}]},
    },
    "required": ["shape", "caption", "circles", "is_circle", "tags", "inner"],
    "additionalProperties": False,
}


def url(word: str) -> str:
    return "data:image/png;base64," + base64.b64encode(PNG + word.encode()).decode()


def chat(text: str, *words: str) -> list[Any]:
    pictures = [{"type": "image_url", "image_url": {"url": url(word), "detail": "low"}} for word in words]
    return [{"role": "user", "content": [{"type": "text", "text": text}, *pictures]}]


def inputs(text: str, *words: str) -> list[Any]:
    pictures = [{"type": "input_image", "image_url": url(word), "detail": "auto"} for word in words]
    return [{"role": "user", "content": [{"type": "input_text", "text": text}, *pictures]}]


@pytest.fixture
def sdk(stack: Stack) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{stack.url}/v1", api_key="none", max_retries=0) as client:
        yield client


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("What is in this picture?", "a picture of circle"),
        ("", "a picture of circle"),
        ("Complete: I see", "I see a picture of circle"),
        ("Is it a square, a star or a circle?", "circle"),
        ("Which fits?\nA) star\nB) circle\nC) moon", "B"),
        ("Is this a circle?", "Yes"),
        ("Is this a star?", "No"),
        ("Is there a circle?", "Yes."),
        ("Is there a star?", "No: not in this picture."),
    ],
)
def test_both_forms_answer_alike(sdk: OpenAI, text, answer) -> None:
    said = sdk.chat.completions.create(model="demo", messages=chat(text, "circle"))
    assert (said.choices[0].message.content, said.choices[0].finish_reason) == (answer, "stop")
    assert said.usage is not None
    assert said.usage.total_tokens == said.usage.prompt_tokens + said.usage.completion_tokens > 0
    told = sdk.responses.create(model="demo", input=inputs(text, "circle"))
    assert (told.output_text, told.status) == (answer, "completed")


@pytest.mark.parametrize("text", ["What is in this picture?", "Is there a circle?"])
def test_streams(sdk: OpenAI, text) -> None:
    whole = sdk.chat.completions.create(model="demo", messages=chat(text, "circle")).choices[0].message.content
    options: Any = {"include_usage": True}
    with sdk.chat.completions.create(
        model="demo", messages=chat(text, "circle"), stream=True, stream_options=options
    ) as chunks:
        every = list(chunks)
    assert "".join(each.choices[0].delta.content or "" for each in every if each.choices).strip() == whole
    assert [each.choices[0].finish_reason for each in every if each.choices][-1] == "stop"
    assert every[-1].usage is not None
    with sdk.responses.create(model="demo", input=inputs(text, "circle"), stream=True) as events:
        kinds = list(events)
    assert [each.type for each in kinds[:2]] == ["response.created", "response.in_progress"]
    assert [each.sequence_number for each in kinds] == list(range(len(kinds)))
    deltas = "".join(each.delta for each in kinds if each.type == "response.output_text.delta")
    last: Any = kinds[-1]
    assert (last.type, last.response.output_text) == ("response.completed", deltas)
    assert deltas.strip() == whole


def test_the_packages_own_stream_helpers(sdk: OpenAI) -> None:
    with sdk.chat.completions.stream(model="demo", messages=chat("What is it?", "circle")) as stream:
        assert stream.get_final_completion().choices[0].message.content == "a picture of circle"
    with sdk.responses.stream(model="demo", input=inputs("What is it?", "circle")) as events:
        assert events.get_final_response().output_text == "a picture of circle"


def test_json(sdk: OpenAI) -> None:
    form: Any = {"type": "json_schema", "json_schema": {"name": "facts", "strict": True, "schema": SCHEMA}}
    said = sdk.chat.completions.create(model="demo", messages=chat("Describe it.", "circle"), response_format=form)
    facts = json.loads(said.choices[0].message.content or "")
    assert facts == {
        "shape": "circle",
        "caption": "a picture of circle",
        "circles": 1,
        "is_circle": True,
        "tags": ["circle"],
        "inner": {"kind": "x"},
    }
    text: Any = {"format": {"type": "json_schema", "name": "facts", "strict": True, "schema": SCHEMA}}
    assert json.loads(sdk.responses.create(model="demo", input=inputs("d", "circle"), text=text).output_text) == facts
    any_json: Any = {"type": "json_object"}
    said = sdk.chat.completions.create(model="demo", messages=chat("d", "circle"), response_format=any_json)
    assert json.loads(said.choices[0].message.content or "") == {"answer": "a picture of circle"}


def test_conversations(sdk: OpenAI) -> None:
    """The last pictures count, also for a later question; a last message of the assistant is a beginning."""
    messages: Any = [
        {"role": "system", "content": "Be brief."},
        *chat("What is it?", "star"),
        {"role": "assistant", "content": "a star"},
        *chat("And this?", "circle"),
        {"role": "assistant", "content": [{"type": "text", "text": "a circle"}]},
        {"role": "user", "content": "Is this a circle?"},
    ]
    assert sdk.chat.completions.create(model="demo", messages=messages).choices[0].message.content == "Yes"
    begun: Any = [*chat("Go on.", "circle"), {"role": "assistant", "content": "There is"}]
    said = sdk.chat.completions.create(model="demo", messages=begun).choices[0].message.content
    assert said == "There is a picture of circle"
    two = sdk.chat.completions.create(model="demo", messages=chat("What is it?", "circle", "star"))
    assert two.choices[0].message.content == "a picture of circle\na picture of star"


@pytest.mark.parametrize(
    "text",
    ["complete " + "." * 200_000 + "x", "is it " + " " * 100_000 + "\nfoo\nbar", "Is this a " + "circle " * 5000 + "?"],
)
def test_long_texts_hold_up_nobody(sdk: OpenAI, text) -> None:
    began = time.monotonic()
    said = sdk.chat.completions.create(model="demo", messages=chat(text, "circle"))
    assert said.choices[0].message.content == "a picture of circle"
    assert time.monotonic() - began < 5


def test_lines_that_follow_a_question(sdk: OpenAI) -> None:
    said = sdk.chat.completions.create(model="demo", messages=chat("Complete:\n\n  I   see\n", "circle"))
    assert said.choices[0].message.content == "I see a picture of circle"


def test_what_is_too_long_to_score_or_to_begin_with(sdk: OpenAI) -> None:
    begun: Any = [*chat("Go on.", "circle"), {"role": "assistant", "content": "word " * 2000}]
    with pytest.raises(openai.BadRequestError, match="8192 characters"):
        sdk.chat.completions.create(model="demo", messages=begun)
    named = {"type": "object", "properties": {"b" * 1001: {"type": "boolean"}}}
    for schema in ({"enum": ["a", "b" * 1001]}, named):
        form: Any = {"type": "json_schema", "json_schema": {"name": "f", "schema": schema}}
        with pytest.raises(openai.BadRequestError, match="1000 characters"):
            sdk.chat.completions.create(model="demo", messages=chat("d", "circle"), response_format=form)


def test_a_short_answer(sdk: OpenAI) -> None:
    said = sdk.chat.completions.create(model="demo", messages=chat("d", "circle"), max_tokens=2).choices[0]
    assert (said.message.content, said.finish_reason) == ("a picture", "length")
    told = sdk.responses.create(model="demo", input=inputs("d", "circle"), max_output_tokens=2)
    assert (told.output_text, told.status) == ("a picture", "incomplete")
    assert told.incomplete_details is not None


@pytest.mark.parametrize(
    ("change", "kind", "param"),
    [
        ({"model": "nobody"}, openai.NotFoundError, None),
        ({"messages": []}, openai.BadRequestError, "messages"),
        ({"messages": [{"role": "user", "content": "no picture"}]}, openai.BadRequestError, "messages"),
        ({"messages": chat("d", "circle"), "tools": [{"type": "function"}]}, openai.BadRequestError, "tools"),
        ({"n": 2}, openai.BadRequestError, "n"),
        ({"max_tokens": 0}, openai.BadRequestError, "max_tokens"),
        ({"response_format": {"type": "grammar"}}, openai.BadRequestError, "response_format.type"),
        (
            {"messages": [{"role": "user", "content": [{"type": "audio"}]}]},
            openai.BadRequestError,
            "messages[0].content[0]",
        ),
        ({"messages": [{"role": "tool", "content": "x"}]}, openai.BadRequestError, "messages[0]"),
    ],
)
def test_errors_are_the_packages_own(sdk: OpenAI, change, kind, param) -> None:
    asked: Any = {"model": "demo", "messages": chat("d", "circle"), **change}
    with pytest.raises(kind) as raised:
        sdk.chat.completions.create(**asked)
    assert param is None or raised.value.param == param
    assert raised.value.body["message"]


def test_bad_pictures_and_models_without_a_captioner(sdk: OpenAI, stack: Stack) -> None:
    bad: Any = [
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}]}
    ]
    with pytest.raises(openai.BadRequestError, match="image"):
        sdk.chat.completions.create(model="demo", messages=bad)
    with pytest.raises(openai.BadRequestError, match="image"):
        sdk.chat.completions.create(model="demo", messages=bad, stream=True)
    stack.torchserve.captioner.full = True
    with pytest.raises(openai.RateLimitError):
        sdk.chat.completions.create(model="demo", messages=chat("d", "circle"))


def test_an_error_in_the_middle_of_a_stream(sdk: OpenAI, stack: Stack) -> None:
    stack.torchserve.captioner.fails_after = 2
    with (
        pytest.raises(openai.APIError),
        sdk.chat.completions.create(model="demo", messages=chat("d", "circle"), stream=True) as chunks,
    ):
        list(chunks)
    with sdk.responses.create(model="demo", input=inputs("d", "circle"), stream=True) as events:
        last: Any = list(events)[-1]
    assert (last.type, last.response.status) == ("response.failed", "failed")


def test_the_package_tries_again(stack: Stack) -> None:
    with OpenAI(base_url=f"{stack.url}/v1", api_key="none", max_retries=2) as client:
        stack.torchserve.failure, stack.torchserve.failures_left = "queue_full", 1
        said = client.chat.completions.create(model="demo", messages=chat("d", "circle"))
    assert said.choices[0].message.content == "a picture of circle"


def test_keys(stack_of: Any) -> None:
    stack = stack_of(api_keys="right")
    wrong = OpenAI(base_url=f"{stack.url}/v1", api_key="wrong", max_retries=0)
    with wrong as client, pytest.raises(openai.AuthenticationError):
        client.chat.completions.create(model="demo", messages=chat("d", "circle"))
    with OpenAI(base_url=f"{stack.url}/v1", api_key="right", max_retries=0) as client:
        assert client.chat.completions.create(model="demo", messages=chat("d", "circle")).choices


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"model": 1}', b'{"model": "demo", "stream": "yes"}'])
def test_bodies_that_are_none(stack: Stack, body) -> None:
    for path in ("/v1/chat/completions", "/v1/responses"):
        answer: httpx.Response = stack.client.post(path, content=body)
        assert answer.status_code == 400
        assert answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("Is it red, blue or green?", ["red", "blue", "green"]),
        ("Is the circle red or blue?", ["circle red", "blue"]),
        ("Which colour: red or blue?", ["red", "blue"]),
        ("(a) one (b) two", ["a", "b"]),
        ("1. a cat\n2. a dog", ["1", "2"]),
        ("What animal is in (this) picture, a cat or a dog?", []),
        ("a, " * 20_000 + "a or b?", []),
        ("a, " * 300 + "a or b?", []),
        ("What is it?", []),
        ("a storm on the sea", []),
    ],
)
def test_options(text, options) -> None:
    assert [answer for answer, _ in options_of(text)] == options
