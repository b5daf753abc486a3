"""PATCH of items through the gateway."""

from __future__ import annotations

import pytest

ITEMS = "/v1/collections/demo/items"


def test_one_item(stack):
    stack.fill("cat", "dog")
    body = {"metadata": {"word": None, "album": "pets"}}
    answer = stack.client.patch(f"{ITEMS}/cat", json=body, headers={"Content-Type": "application/merge-patch+json"})
    assert (answer.status_code, answer.json()) == (200, {"id": "cat", "metadata": {"album": "pets"}})
    assert stack.index.calls == [("PATCH", "/collections/demo/items/cat", body)]
    assert not stack.torchserve.calls


def test_many_items_say_where_they_failed(stack):
    stack.fill("cat", "dog")
    patches = [{"id": "cat", "metadata": {"a": 1}}, {"id": "bird", "metadata": {}}, {"id": "dog", "metadata": {"b": 2}}]
    results = stack.client.patch(ITEMS, json={"items": patches}).json()["results"]
    assert [one["status"] for one in results] == [200, 404, 200]
    assert (results[1]["error"]["code"], results[1]["error"]["param"]) == ("item_not_found", "items[1]")
    (one,) = stack.client.patch(ITEMS, json={"ids": ["bird"], "metadata": {}}).json()["results"]
    assert one["error"]["param"] == "ids[0]"


def test_a_filter(stack):
    stack.fill("cat", "dog")
    body = {"filter": {"word": "cat"}, "metadata": {"a": 1}}
    assert stack.client.patch(ITEMS, json=body).json() == {"updated": 1, "failed": [], "next": None}


DIGEST = "6f" * 32
KEPT = {"digest": DIGEST, "original_file": {"path": "a.png"}}
ALL_FORMS = [  # a patch of the item `cat`: path, body, where its result is
    ("/cat", lambda metadata: {"metadata": metadata}),
    ("", lambda metadata: {"items": [{"id": "cat", "metadata": metadata}]}),
    ("", lambda metadata: {"ids": ["cat"], "metadata": metadata}),
    ("", lambda metadata: {"filter": {"word": "cat"}, "metadata": metadata}),
]
FORMS = pytest.mark.parametrize(("path", "body"), ALL_FORMS, ids=["item", "items", "ids", "filter"])


@pytest.fixture
def pictured(stack):
    stack.fill("cat")
    stack.index.collections["demo"]["items"]["cat"]["metadata"] |= KEPT
    return stack


def metadata_of(stack):
    return stack.client.get(f"{ITEMS}/cat").json()["metadata"]


@FORMS
def test_what_the_gateway_needs_stays_where_all_metadata_is_removed(pictured, path, body):
    assert pictured.client.patch(f"{ITEMS}{path}", json=body(None)).status_code == 200
    assert metadata_of(pictured) == KEPT


@FORMS
@pytest.mark.parametrize("value", [None, "00" * 32, {"a": 1}])
def test_another_digest_is_refused(pictured, path, body, value):
    answer = pictured.client.patch(f"{ITEMS}{path}", json=body({"digest": value, "n": 1}))
    told = answer.json()
    result = told if path else (told.get("results") or told["failed"])[0]
    assert (result["error"]["code"], answer.status_code) == ("bad_input", 400 if path else 200)
    assert "`digest` is not changed by patches" in result["error"]["message"]
    assert metadata_of(pictured) == {"word": "cat", **KEPT}


@FORMS
@pytest.mark.parametrize("value", [None, {"path": None}, {"path": "b.png"}, "b.png"])
def test_another_original_file_is_refused(pictured, path, body, value):
    answer = pictured.client.patch(f"{ITEMS}{path}", json=body({"original_file": value}))
    assert "`original_file` is not changed by patches" in answer.text
    assert metadata_of(pictured) == {"word": "cat", **KEPT}


@FORMS
def test_the_same_digest_again_is_no_fault(pictured, path, body):
    """Of whoever reads an item, changes it and sends all of it back."""
    pictured.client.patch(f"{ITEMS}{path}", json=body({**KEPT, "n": 1}))
    assert metadata_of(pictured) == {"word": "cat", **KEPT, "n": 1}


@pytest.mark.parametrize("body", [{"items": [{"id": "a", "metadata": {}}] * 3}, {"ids": ["a"] * 3, "metadata": {}}])
def test_too_many(stack_of, body):
    stack = stack_of(max_items=2)
    stack.fill("cat")
    answer = stack.client.patch(ITEMS, json=body)
    assert (answer.status_code, answer.json()["error"]["param"]) == (413, next(iter(body)))
    assert not stack.index.calls


def test_a_body_that_is_no_object(stack):
    stack.fill("cat")
    for path in (ITEMS, f"{ITEMS}/cat"):
        assert stack.client.patch(path, content=b"[]").status_code == 400
        assert stack.client.patch(path, content=b"").status_code == 400


def test_a_listing_under_a_filter(stack):
    stack.fill("cat", "dog")
    answer = stack.client.get(ITEMS, params={"filter": '{"word": "dog"}'}).json()
    assert [each["id"] for each in answer["items"]] == ["dog"]
