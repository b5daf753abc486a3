"""`rerank` of a search over HTTP: orders, what the answer says of them, and whatever goes wrong."""

from __future__ import annotations

import time
from typing import Any

import pytest

from tests.gateway.conftest import Stack
from tests.gateway.reranking.searches import BLUE, QUERY, ids, picture, plain, search


@pytest.mark.parametrize("by", ["captioner", "tree"])
def test_what_fits_comes_first(filled: Stack, by: str) -> None:
    before, answer = plain(filled), search(filled, by)
    assert set(ids(answer)[:2]) == BLUE
    if by == "captioner":  # to which the others are alike
        assert [each for each in ids(answer) if each not in BLUE] == [each for each in before if each not in BLUE]
    told = answer["rerank"]
    assert (told["by"], told["applied"], told["candidates"], told["scored"]) == (by, True, 8, 8)
    assert (told["note"], told["budget_spent"], told["without_picture"]) == (None, None, 0)
    waited_ms = told["quality"].pop("waited_ms")
    assert 0 < waited_ms < told["ms"]
    assert told["quality"] == {"captioner": 1.0, "retrieval": pytest.approx(0.25, abs=0.25), "good": True}
    assert search(filled, by)["rerank"]["quality"]["waited_ms"] < 20, "it is known"
    assert told["tokens"] > 0
    assert "tree" not in told
    assert all("n" in hit["metadata"] for hit in answer["hits"])
    assert answer["next_cursor"] is None


def test_the_tree_is_told(filled: Stack) -> None:
    tree = search(filled, {"by": "tree", "explain": True}, k=2)["rerank"]["tree"]
    kinds = [node["kind"] for node in tree["nodes"]]
    assert kinds[0] == "clause"
    assert {"color", "noun", "setting"} <= set(kinds)
    color = tree["nodes"][kinds.index("color")]
    assert color["claims"] == [QUERY]
    assert color["counterfactuals"][0] == QUERY.replace("blue", "red")
    first = tree["candidates"][0]
    assert first["id"] in BLUE
    assert first["values"][kinds.index("color")] == pytest.approx(8.0, abs=1)
    assert tree["stages"][0] == 8


def test_the_page_and_its_metadata_are_the_callers(filled: Stack) -> None:
    answer = search(filled, "captioner", k=3, include=["metadata.n"])
    assert [set(hit["metadata"]) for hit in answer["hits"]] == [{"n"}] * 3
    assert all("metadata" not in hit for hit in search(filled, "captioner", include=[])["hits"])
    few = search(filled, {"by": "captioner", "candidates": 3})
    assert few["rerank"]["candidates"] == 3
    assert sorted(ids(few)[:3]) == sorted(plain(filled)[:3])
    assert ids(few)[3:] == plain(filled)[3:]


@pytest.mark.parametrize("budget", [{"budget_ms": 0}, {"budget_tokens": 0}, {"budget_ms": 1}])
def test_a_budget_that_is_spent_leaves_the_order(filled: Stack, budget: dict[str, int]) -> None:
    search(filled, "captioner")
    filled.torchserve.captioner.scores_s = 1.0
    started, answer = time.perf_counter(), search(filled, {"by": "tree", **budget})
    assert time.perf_counter() - started < 0.8
    assert ids(answer) == plain(filled)
    told = answer["rerank"]
    assert (told["applied"], told["budget_spent"]) == (False, next(iter(budget)).removeprefix("budget_"))


def test_tokens_are_kept(filled: Stack) -> None:
    told = search(filled, {"by": "captioner", "budget_tokens": 20})["rerank"]
    assert (told["scored"], told["tokens"], told["budget_spent"]) == (2, 16, "tokens")


@pytest.mark.parametrize("text", ["日本", "a circle or a star", "???"])
def test_a_query_that_is_not_understood_keeps_its_order(filled: Stack, text: str) -> None:
    told = search(filled, "tree", text=text)["rerank"]
    assert not told["applied"]
    assert "was not understood" in told["note"]


def test_items_without_pictures_keep_their_places(filled: Stack) -> None:
    filled.post("/v1/collections/demo/items", {"items": [{"id": "words", "text": QUERY}]})
    answer = search(filled, "tree", k=9)
    assert ids(answer)[0] == "words", "a text is nearest to itself, and there is nothing to look at"
    assert set(ids(answer)[1:3]) == BLUE
    assert answer["rerank"]["without_picture"] == 1
    assert answer["rerank"]["scored"] == 8


def test_a_poor_captioner_is_left_out(filled: Stack) -> None:
    filled.torchserve.captioner.orders_canaries = False
    answer = search(filled, "captioner")
    assert ids(answer) == plain(filled)
    assert answer["rerank"]["quality"]["good"] is False
    assert "worse than the search" in answer["rerank"]["note"]


def test_no_captioner_and_no_language_model(filled: Stack) -> None:
    assert "no language model" in search(filled, "llm")["rerank"]["note"]
    filled.torchserve.captioner.endpoints.clear()
    time.sleep(2.1)  # what TorchServe said is remembered for a moment
    answer = search(filled, "captioner")
    assert ids(answer) == plain(filled)
    assert "has no captioner" in answer["rerank"]["note"]


def test_a_captioner_that_is_down_or_ends_in_the_middle(filled: Stack) -> None:
    search(filled, "captioner")
    filled.torchserve.captioner.calls_left = 1
    answer = search(filled, "tree")
    assert set(ids(answer)[:2]) == BLUE, "the first stage was answered"
    assert "best so far" in answer["rerank"]["note"]
    filled.torchserve.captioner.full = True
    answer = search(filled, "tree")
    assert ids(answer) == plain(filled)
    assert answer["rerank"]["note"]
    filled.torchserve.captioner.full, filled.torchserve.captioner.calls_left = False, None
    assert search(filled, "tree")["rerank"]["note"] is None


def test_a_captioner_of_another_model_meanwhile(filled: Stack) -> None:
    search(filled, "captioner")
    filled.torchserve.captioner.fingerprint = "fp-other"
    answer = search(filled, "captioner")
    assert ids(answer) == plain(filled)
    assert "replaced" in answer["rerank"]["note"]
    assert search(filled, "captioner")["rerank"]["note"] is None, "it was measured again"


def test_many_candidates(filled: Stack) -> None:
    assert search(filled, {"by": "captioner", "candidates": 1000})["rerank"]["candidates"] == 8


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"rerank": "magic"}, "rerank"),
        ({"rerank": 3}, "rerank"),
        ({"rerank": {}}, "rerank"),
        ({"rerank": {"by": "trees"}}, "rerank.by"),
        ({"rerank": {"by": "tree", "candidates": 0}}, "rerank.candidates"),
        ({"rerank": {"by": "tree", "candidates": 1001}}, "rerank.candidates"),
        ({"rerank": {"by": "tree", "candidates": True}}, "rerank.candidates"),
        ({"rerank": {"by": "tree", "budget_ms": -1}}, "rerank.budget_ms"),
        ({"rerank": {"by": "tree", "budget_ms": "5"}}, "rerank.budget_ms"),
        ({"rerank": {"by": "tree", "budget_tokens": 1.5}}, "rerank.budget_tokens"),
        ({"rerank": {"by": "tree", "explain": 1}}, "rerank.explain"),
        ({"rerank": {"by": "tree", "budget": 1}}, "rerank.budget"),
        ({"rerank": "tree", "text": None, "vector": [0.25] * 16}, "rerank"),
        ({"rerank": "tree", "cursor": "abc"}, "cursor"),
        ({"rerank": "tree", "collection": None, "collections": ["demo"]}, "rerank"),
        ({"rerank": "tree", "k": 0}, "k"),
    ],
)
def test_bad_bodies(stack: Stack, body: dict[str, Any], param: str) -> None:
    given = {"collection": "demo", "text": QUERY, **body}
    answer = stack.post("/v1/search", {name: value for name, value in given.items() if value is not None})
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == param


def test_a_batch_has_no_reranking(stack: Stack) -> None:
    answer = stack.post("/v1/search/batch", {"searches": [{"collection": "demo", "text": QUERY, "rerank": "tree"}]})
    (result,) = answer.json()["results"]
    assert (result["status"], result["error"]["param"]) == (400, "searches[0].rerank")


def test_candidates_are_charged_when_they_are_looked_at(stack_of: Any) -> None:
    stack = stack_of(items_per_minute=14)
    stack.client.put("/v1/collections/demo", json={})
    items = [{"id": f"i{n}", "image": picture("red", n)} for n in range(5)]
    stack.post("/v1/collections/demo/items", {"items": items})
    for by, text in (("tree", "happy or sad"), ("llm", QUERY), ("tree", "???")):
        assert not search(stack, by, text=text)["rerank"]["applied"]
    assert search(stack, "captioner")["rerank"]["scored"] == 5
    refused = stack.post("/v1/search", {"collection": "demo", "text": QUERY, "rerank": "captioner"})
    assert refused.status_code == 429
