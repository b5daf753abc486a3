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
    assert (told["applied"], told["scored"], told["hallucinated_ids"], told["omitted_ids"]) == (True, 4, 0, 0)
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
    assert (answer["rerank"]["hallucinated_ids"], answer["rerank"]["omitted_ids"]) == (2, 3)
    assert answer["rerank"]["scored"] == 1


@pytest.mark.parametrize("said", ['{"order": []}', '{"order": ["p0000"]}', '{"order": "p1"}', "no JSON"])
def test_an_answer_without_an_order_changes_nothing(asking: Any, openai_server: OpenAiServer, said: str) -> None:
    stack = asking()
    openai_server.reply = lambda _: said
    before, answer = search(stack), search(stack, "llm")
    assert ids(answer) == ids(before)
    assert answer["rerank"]["note"]
    assert not answer["rerank"]["applied"]


def test_a_provider_that_fails_or_takes_long(asking: Any, openai_server: OpenAiServer) -> None:
    stack = asking(llm_retries=0)
    openai_server.failures = [(500, {})]
    answer = search(stack, "llm")
    assert answer["rerank"]["note"]
    openai_server.reply, openai_server.delay_s = ordering(), 5.0
    started = time.perf_counter()
    answer = search(stack, {"by": "llm", "budget_ms": 300})
    assert time.perf_counter() - started < 2
    assert (answer["rerank"]["budget_spent"], answer["rerank"]["applied"]) == ("ms", False)
    assert ids(answer) == ids(search(stack))


def test_tokens_that_reach_for_some_candidates_or_for_none(asking: Any, openai_server: OpenAiServer) -> None:
    stack = asking()
    openai_server.reply = ordering()
    before, answer = search(stack), search(stack, {"by": "llm", "budget_tokens": 100})
    told = answer["rerank"]
    assert (told["applied"], told["tokens"], told["budget_spent"]) == (False, 0, "tokens")
    assert not openai_server.asked
    assert "fewer than two" in told["note"]
    answer = search(stack, {"by": "llm", "budget_tokens": 600})
    told, shown = answer["rerank"], len(names(openai_server.asked[0]))
    assert 2 <= shown < 4
    assert (told["scored"], told["omitted_ids"], told["budget_spent"]) == (shown, 0, "tokens")
    assert told["tokens"] <= 600
    assert ids(answer) == [*ids(before)[:shown][::-1], *ids(before)[shown:]]


def test_what_has_no_picture_is_not_shown(asking: Any, openai_server: OpenAiServer) -> None:
    stack = asking()
    stack.post("/v1/collections/demo/items", {"items": [{"id": "words", "text": QUERY}]})
    openai_server.reply = ordering()
    before, answer = search(stack), search(stack, "llm")
    assert ids(before)[0] == ids(answer)[0] == "words"
    assert ids(answer)[1:] == ids(before)[1:][::-1]
    assert (answer["rerank"]["without_picture"], answer["rerank"]["scored"]) == (1, 4)
    assert len(names(openai_server.asked[0])) == 4
    stack.post("/v1/collections/demo/items/delete", {"ids": ids(before)[1:]})
    told = search(stack, "llm")["rerank"]
    assert (told["applied"], told["without_picture"], len(openai_server.asked)) == (False, 1, 1)


def test_one_candidate_is_in_order(asking: Any, openai_server: OpenAiServer) -> None:
    told = search(asking(), {"by": "llm", "candidates": 1})["rerank"]
    assert (told["applied"], told["budget_spent"]) == (False, None)
    assert not openai_server.asked
