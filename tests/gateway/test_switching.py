"""Collections whose model isn't served wait for it: what is said of them, and what works meanwhile."""

from __future__ import annotations

from typing import Any

import pytest

from clip_core.wire import encode_vector
from tests.gateway.conftest import Stack
from tests.gateway.fakes import embed, picture_uri


@pytest.fixture
def waiting(stack_of: Any) -> Stack:
    """`demo` is of a model that was served before, `new` of the one that is."""
    stack: Stack = stack_of()
    stack.fill("a", "b")
    stack.fill("c", collection="new")
    stack.index.collections["demo"]["spec"] |= {"model": "vit-b-32", "fingerprint": "fp-old"}
    return stack


def statuses(stack: Stack) -> dict[str, str | None]:
    listed = stack.client.get("/v1/collections").json()["collections"]
    return {each["name"]: each["model_status"] for each in listed}


def test_it_is_listed_as_waiting_with_its_model(waiting: Stack) -> None:
    assert statuses(waiting) == {"demo": "not_served", "new": "served"}
    described = waiting.client.get("/v1/collections/demo").json()
    assert (described["model"], described["model_status"]) == ("vit-b-32", "not_served")
    assert waiting.client.put("/v1/collections/new", json={}).json()["model_status"] == "served"


def test_it_is_served_again_with_its_model(waiting: Stack) -> None:
    waiting.torchserve.fingerprint = "fp-old"
    waiting.post("/v1/embeddings", {"input": "a"})
    assert statuses(waiting) == {"demo": "served", "new": "not_served"}


def test_before_any_model_has_answered_nothing_is_claimed(stack_of: Any) -> None:
    stack = stack_of()
    stack.index.collections["demo"] = {
        "spec": {"model": "m", "fingerprint": "f", "dim": 16, "metric": "cosine"},
        "items": {},
    }
    stack.torchserve.failure = "unavailable"
    assert statuses(stack) == {"demo": None}


@pytest.mark.parametrize("given", [{"text": "a"}, {"image": picture_uri("a")}])
def test_what_needs_its_model_is_refused(waiting: Stack, given: dict[str, Any]) -> None:
    for path, body in (
        ("/v1/search", {"collection": "demo", **given}),
        ("/v1/collections/demo/items", {"items": [{"id": "d", **given}]}),
    ):
        answer = waiting.post(path, body)
        assert (answer.status_code, answer.json()["error"]["code"]) == (409, "fingerprint_mismatch")


def test_what_needs_no_model_works(waiting: Stack) -> None:
    vector = encode_vector(embed("a"))
    found = waiting.post("/v1/search", {"collection": "demo", "vector": vector, "k": 1}).json()
    assert [hit["id"] for hit in found["hits"]] == ["a"]
    added = waiting.post("/v1/collections/demo/items", {"items": [{"id": "v", "vector": vector}]})
    assert added.json()["results"][0]["status"] == 200
    assert [item["id"] for item in waiting.client.get("/v1/collections/demo/items").json()["items"]] == ["a", "b", "v"]
    assert waiting.client.patch("/v1/collections/demo/items/a", json={"metadata": {"x": 1}}).is_success
    assert waiting.client.delete("/v1/collections/demo/items/b").is_success
    assert waiting.client.delete("/v1/collections/demo").is_success
