"""What the gateway remembers of a collection between two batches never outlives the collection."""

from __future__ import annotations

import pytest

ITEMS = "/v1/collections/demo/items"


@pytest.fixture
def asked(stack_of):
    stack = stack_of()
    stack.fill("a")
    assert stack.post(ITEMS, {"items": [{"id": "b", "text": "b"}]}).status_code == 200
    stack.index.calls.clear()
    return stack


def add(stack, word="c"):
    return stack.post(ITEMS, {"items": [{"id": word, "text": word}]})


def test_batches_in_a_row_ask_once(stack_of):
    stack = stack_of()
    stack.fill("a")
    for n in range(5):
        assert add(stack, f"w{n}").json()["results"][0]["status"] == 200
    assert [method for method, path, _ in stack.index.calls if path == "/collections/demo"].count("GET") <= 1


def test_a_collection_that_was_dropped(asked):
    del asked.index.collections["demo"]
    for _ in range(2):
        answer = add(asked)
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "collection_not_found")
    asked.torchserve.calls.clear()
    assert add(asked).status_code == 404
    assert not asked.torchserve.calls, "once refused, nothing is encoded for it"


def test_a_collection_that_was_made_anew_for_another_model(asked):
    asked.index.collections["demo"]["spec"]["fingerprint"] = "fp-new"
    assert add(asked).json()["error"]["code"] == "fingerprint_mismatch"
    asked.torchserve.fingerprint = "fp-new"
    assert add(asked).json()["results"][0]["status"] == 200
    assert "c" in asked.index.collections["demo"]["items"]


def test_a_collection_and_the_model_that_change_together(asked):
    asked.index.collections["demo"]["spec"]["fingerprint"] = asked.torchserve.fingerprint = "fp-new"
    assert add(asked).json()["results"][0]["status"] == 200


def test_another_model_is_still_refused(asked):
    asked.torchserve.fingerprint = "fp-new"
    answer = add(asked)
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "fingerprint_mismatch")
    assert "c" not in asked.index.collections["demo"]["items"]
