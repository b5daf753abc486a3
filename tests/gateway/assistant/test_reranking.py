"""`"rerank": "llm"` against a server that speaks OpenAI's API: orders, invented names, failures, budgets."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from benchmarks.assistant.openai_server import AskedPrompt, OpenAiServer
from tests.gateway.conftest import Stack

QUERY = "two stars and no circle"


def search(stack: Stack, rerank: Any = None) -> Any:
    body = {"collection": "demo", "text": QUERY, **({"rerank": rerank} if rerank else {})}
    answer = stack.post("/v1/search", body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def ids(answer: Any) -> list[str]:
    return [hit["id"] for hit in answer["hits"]]


def names(asked: AskedPrompt) -> list[str]:
    assert asked.schema is not None
    found: list[str] = asked.schema["properties"]["order"]["items"]["enum"]
    return found


def ordering(*more: str, cut: int | None = None) -> Any:
    """From the last to the first, with these names before."""
    return lambda asked: json.dumps({"order": [*more, *names(asked)[::-1][:cut]]})


def test_the_models_order_is_the_answer(asking: Any, openai_server: OpenAiServer) -> None:
    stack = asking()
    openai_server.reply = ordering()
    before, answer = search(stack), search(stack, "llm")
    assert ids(answer) == ids(before)[::-1]
    told = answer["rerank"]
    assert (told["applied"], told["scored"], told["invented_ids"], told["not_named"]) == (True, 4, 0, 0)
    assert told["tokens"] > 0
    (asked,) = openai_server.asked
    assert len(asked.pictures) == 4
    assert all(picture.detail == "low" for picture in asked.pictures)
    assert not any(each in " ".join(asked.texts) for each in ids(before)), "ids are not told"


def test_names_that_were_not_given_count_for_nothing(asking: Any, openai_server: OpenAiServer) -> None:
    stack = asking()
    openai_server.reply = ordering("p0000", "../etc", cut=1)
    before, answer = search(stack), search(stack, "llm")
    assert ids(answer) == [ids(before)[3], *ids(before)[:3]]
    assert (answer["rerank"]["invented_ids"], answer["rerank"]["not_named"]) == (2, 3)


@pytest.mark.parametrize("said", ['{"order": []}', '{"order": ["p0000"]}', '{"order": "p1"}', "no JSON"])
def test_an_answer_without_an_order_changes_nothing(asking: Any, openai_server: OpenAiServer, said: str) -> None:
    stack = asking()
    openai_server.reply = lambda _: said
    before, answer = search(stack), search(stack, "llm")
    assert ids(answer) == ids(before)
    assert answer["rerank"]["note"]
    assert not answer["rerank"]["applied"]


def test_a_provider_that_fails_or_takes_long(asking: Any, openai_server: OpenAiServer) -> None:
    stack = asking(assistant_retries=0)
    openai_server.failures = [(500, {})]
    answer = search(stack, "llm")
    assert answer["rerank"]["note"]
    openai_server.reply, openai_server.delay_s = ordering(), 5.0
    started = time.perf_counter()
    answer = search(stack, {"by": "llm", "budget_ms": 300})
    assert time.perf_counter() - started < 2
    assert (answer["rerank"]["budget_spent"], answer["rerank"]["applied"]) == ("ms", False)
    assert ids(answer) == ids(search(stack))
