"""The ways in which `rerank` comes, pages of it, and how much of a request's time it takes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.gateway.conftest import Stack
from tests.gateway.reranking.searches import BLUE, QUERY, ids, plain, search


def form(stack: Stack, rerank: str) -> Any:
    fields = {"collection": "demo", "text": QUERY, "k": "8", "rerank": rerank}
    return stack.client.post("/v1/search", files={name: (None, value) for name, value in fields.items()})


@pytest.mark.parametrize("rerank", ["captioner", '"captioner"', '{"by": "captioner", "candidates": 8}'])
def test_forms(filled: Stack, rerank: str) -> None:
    answer = form(filled, rerank)
    assert answer.status_code == 200, answer.text
    assert set(ids(answer.json())[:2]) == BLUE


@pytest.mark.parametrize("rerank", ["magic", "{", "3", ""])
def test_forms_that_name_no_order(stack: Stack, rerank: str) -> None:
    answer = form(stack, rerank)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "rerank")


def test_null_is_no_order(filled: Stack) -> None:
    body = {"collection": "demo", "text": QUERY, "k": 8, "rerank": None}
    answer = filled.post("/v1/search", body)
    assert (answer.status_code, ids(answer.json())) == (200, plain(filled))
    (result,) = filled.post("/v1/search/batch", {"searches": [body]}).json()["results"]
    assert result["status"] == 200


def test_pages_behind_the_candidates_are_the_searchs(filled: Stack) -> None:
    rerank, before = {"by": "captioner", "candidates": 4}, plain(filled)
    first = search(filled, rerank, k=5)
    second = search(filled, rerank, k=5, cursor=first["next_cursor"])
    assert ids(second) == before[5:]
    assert sorted(ids(first) + ids(second)) == sorted(before)
    assert ids(first)[4:] == before[4:5]
    assert "rerank" not in second
    assert search(filled, rerank, k=3)["next_cursor"] is None, "the fourth candidate may be anywhere"
    more = {"collection": "demo", "text": QUERY, "cursor": first["next_cursor"], "rerank": "captioner"}
    refused = filled.post("/v1/search", more)
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "cursor")


def test_a_long_include_is_refused_as_without_rerank(filled: Stack) -> None:
    body = {"collection": "demo", "text": QUERY, "include": ["metadata.n"] * 65}
    refused = [filled.post("/v1/search", {**body, **more}).json()["error"] for more in ({}, {"rerank": "captioner"})]
    assert refused[0]["param"] == "include"
    assert refused[0] == refused[1]


def test_candidates_without_pictures(stack: Stack) -> None:
    assert stack.client.put("/v1/collections/demo", json={}).is_success
    stack.post("/v1/collections/demo/items", {"items": [{"id": f"t{n}", "text": f"text {n}"} for n in range(3)]})
    told = search(stack, "tree")["rerank"]
    assert (told["applied"], told["without_picture"]) == (False, 3)
    assert "no candidate has a picture" in told["note"]


def test_a_text_with_our_own_marks_is_not_understood(filled: Stack) -> None:
    assert "was not understood" in search(filled, "tree", text="a ~shiny ~thing")["rerank"]["note"]


@pytest.mark.parametrize(("settings", "headers"), [({}, {"X-Request-Timeout": "0.6"}), ({"stall_timeout_s": 0.6}, {})])
def test_hits_are_told_before_the_requests_time_is_over(
    filled_with: Callable[..., Stack], settings: dict[str, Any], headers: dict[str, str]
) -> None:
    stack = filled_with(**settings)
    search(stack, "captioner")
    stack.torchserve.captioner.scores_s = 30.0
    body = {"collection": "demo", "text": QUERY, "k": 8, "rerank": "tree"}
    answer = stack.client.post("/v1/search", json=body, headers=headers)
    assert answer.status_code == 200, answer.text
    assert ids(answer.json()) == plain(stack)
    assert answer.json()["rerank"]["budget_spent"] == "ms"
