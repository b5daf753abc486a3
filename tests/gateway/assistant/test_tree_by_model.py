"""Trees of queries that the rules don't understand: a language model takes them apart, or the order stays."""

from __future__ import annotations

import json
from typing import Any

import pytest

from benchmarks.assistant.openai_server import OpenAiServer
from tests.gateway.conftest import Stack

GERMAN = "ein roter Kreis links von zwei Quadraten"  # one thing of seven words, to the rules
JAPANESE = "二つの四角の左に赤い丸"  # nothing
NOTHING = {"size": None, "color": None, "texture": None, "not_color": None, "absent": False}
TOLD = {
    "things": [
        {**NOTHING, "noun": "circle", "count": 1, "color": "red"},
        {**NOTHING, "noun": "square", "count": 2},
    ],
    "relations": [{"first": 0, "name": "left of", "second": 1}],
    "background": None,
}


def reranked(stack: Stack, text: str = GERMAN, **more: Any) -> Any:
    body = {"collection": "demo", "text": text, "rerank": {"by": "tree", "explain": True, **more}}
    answer = stack.post("/v1/search", body)
    assert answer.status_code == 200, answer.text
    return answer.json()["rerank"]


def test_the_model_takes_it_apart_once(asking: Any, openai_server: OpenAiServer) -> None:
    stack = asking()
    openai_server.reply = lambda _: json.dumps(TOLD)
    told = reranked(stack)
    assert (told["applied"], told["parsed_by"], told["note"]) == (True, "llm", None)
    assert told["tree"]["nodes"][0]["label"] == "a red circle left of two squares"
    (asked,) = openai_server.asked
    assert GERMAN in asked.texts[0]
    assert not asked.pictures
    again = reranked(stack)
    assert (again["parsed_by"], len(openai_server.asked)) == ("llm", 1)
    assert again["tokens"] < told["tokens"], "the model was not asked again"


def test_what_the_rules_understand_is_not_sent(asking: Any, openai_server: OpenAiServer) -> None:
    assert reranked(asking(), "a red circle left of two squares")["parsed_by"] == "rules"
    assert not openai_server.asked


@pytest.mark.parametrize("said", ['{"things": [], "relations": [], "background": null}', "{}", "no JSON"])
def test_an_answer_that_is_none_leaves_what_the_rules_say(asking: Any, openai_server: OpenAiServer, said: str) -> None:
    stack, openai_server.reply = asking(), lambda _: said
    told = reranked(stack, JAPANESE)
    assert (told["applied"], "tree" in told) == (False, False)
    assert told["note"]
    told = reranked(stack, GERMAN)
    assert (told["applied"], told["parsed_by"], told["note"]) == (True, "rules", None)
    assert len(openai_server.asked) == 2


def test_a_provider_that_fails_or_takes_long_leaves_the_order(asking: Any, openai_server: OpenAiServer) -> None:
    spent = 4 + 4 * 1 + 2 * 4  # the scenes, the texts of four searches, and the candidates of two
    stack = asking(llm_retries=0, items_per_minute=spent + 1)
    reranked(stack, "a circle")
    openai_server.failures = [(500, {})]
    assert reranked(stack, JAPANESE)["note"]
    openai_server.delay_s = 5.0
    told = reranked(stack, JAPANESE, budget_ms=300)
    assert (told["applied"], told["budget_spent"]) == (False, "ms")
    assert reranked(stack, "a circle")["applied"], "what asked nothing of the candidates cost nothing"


def test_tokens_that_do_not_reach(asking: Any, openai_server: OpenAiServer) -> None:
    stack = asking()
    told = reranked(stack, JAPANESE, budget_tokens=60)
    assert (told["applied"], told["budget_spent"], told["tokens"]) == (False, "tokens", 0)
    told = reranked(stack, GERMAN, budget_tokens=60)
    assert (told["applied"], told["parsed_by"]) == (True, "rules")
    assert not openai_server.asked


@pytest.mark.parametrize("text", ["???", "日" * 1001])
def test_texts_that_no_model_needs_to_see(asking: Any, openai_server: OpenAiServer, text: str) -> None:
    assert "was not understood" in reranked(asking(), text)["note"]
    assert not openai_server.asked
