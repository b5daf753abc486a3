"""Several collections in one search: one encoding, one ranking, pages over all of them."""

from __future__ import annotations

import pytest

from clip_core.wire import encode_vector
from gateway.keys.key_store import KeyStore
from tests.gateway.fakes import DIM, embed, picture_uri

BOTH = {"collections": ["one", "two"]}


@pytest.fixture
def filled(stack):
    stack.fill("cat", "dog", "bird", "fish", collection="one")
    stack.fill("cow", "cat", "hen", "elk", "owl", collection="two")
    stack.torchserve.calls.clear()
    return stack


def ranked(stack, text):
    """(collection, id) of everything, the best first."""
    scored = [
        (-float(embed(text) @ item["vector"]), place, name, item_id)
        for place, name in enumerate(("one", "two"))
        for item_id, item in stack.index.collections[name]["items"].items()
    ]
    return [(name, item_id) for _, _, name, item_id in sorted(scored)]


def shown(answer):
    return [(hit["collection"], hit["id"]) for hit in answer["hits"]]


@pytest.mark.parametrize(
    "query", [{"text": "cat"}, {"image": picture_uri("cat")}, {"vector": encode_vector(embed("cat"))}]
)
def test_one_ranking_over_all(filled, query):
    answer = filled.post("/v1/search", {**BOTH, **query, "k": 20}).json()
    assert shown(answer) == ranked(filled, "cat")
    assert shown(answer)[:2] == [("one", "cat"), ("two", "cat")]
    assert [hit["score"] for hit in answer["hits"]] == sorted((hit["score"] for hit in answer["hits"]), reverse=True)
    assert (answer["collections"], answer["model"], answer["next_cursor"]) == (["one", "two"], "demo", None)
    assert len(filled.torchserve.calls) == (0 if "vector" in query else 1)
    assert {"total_ms", "encode_ms", "search_ms"} == set(answer["timing"])


def test_a_mixture(filled):
    parts = [{"text": "cat"}, {"vector": encode_vector(embed("dog")), "weight": 0.1}]
    answer = filled.post("/v1/search", {**BOTH, "query": parts, "k": 2}).json()
    assert shown(answer) == [("one", "cat"), ("two", "cat")]


@pytest.mark.parametrize("k", [1, 2, 4])
def test_pages_follow_one_another(filled, k):
    found, cursor = [], None
    while True:
        answer = filled.post("/v1/search", {**BOTH, "text": "cat", "k": k, "cursor": cursor}).json()
        found += shown(answer)
        cursor = answer["next_cursor"]
        if cursor is None:
            break
    assert found == ranked(filled, "cat")


def test_a_cursor_belongs_to_its_collections(filled):
    cursor = filled.post("/v1/search", {**BOTH, "text": "cat", "k": 2}).json()["next_cursor"]
    for other in ({"collections": ["one"]}, {"collections": ["two", "one"]}, {"collection": "one"}):
        answer = filled.post("/v1/search", {**other, "text": "cat", "k": 2, "cursor": cursor})
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, "cursor")


def test_filters_least_scores_and_fields_hold_in_each(filled):
    body = {**BOTH, "text": "cat", "k": 20}
    assert shown(filled.post("/v1/search", {**body, "filter": {"word": {"$in": ["cat", "owl"]}}}).json()) == [
        hit for hit in ranked(filled, "cat") if hit[1] in ("cat", "owl")
    ]
    assert shown(filled.post("/v1/search", {**body, "min_score": 0.9}).json()) == [("one", "cat"), ("two", "cat")]
    (hit, *_) = filled.post("/v1/search", {**body, "include": ["metadata.word"]}).json()["hits"]
    assert (hit["collection"], hit["metadata"]) == ("one", {"word": "cat"})


@pytest.mark.parametrize(
    ("body", "status", "param"),
    [
        ({"collections": ["one", "none"], "text": "a"}, 404, "collection"),
        ({"collections": [], "text": "a"}, 400, "collections"),
        ({"collections": "one", "text": "a"}, 400, "collections"),
        ({"collections": ["one", 5], "text": "a"}, 400, "collections"),
        ({"collections": ["one", "one"], "text": "a"}, 400, "collections"),
        ({"collections": [f"c{n}" for n in range(17)], "text": "a"}, 400, "collections"),
        ({"collections": ["one"], "collection": "two", "text": "a"}, 400, "collections"),
        ({"collections": ["one", "two"], "like": "cat"}, 400, "collections"),
        ({"collections": ["one", "two"], "query": [{"like": "cat"}]}, 400, "collections"),
        ({"collections": ["one", "two"]}, 400, None),
        ({"collections": ["one", "two"], "text": "a", "k": 0}, 400, "k"),
        ({"collections": ["one", "two"], "text": "a", "model": "other"}, 404, "model"),
        ({"collections": ["one", "two"], "vector": [1.0] * (DIM + 1)}, 400, "vector"),
    ],
)
def test_bad_searches(filled, body, status, param):
    answer = filled.post("/v1/search", body)
    assert (answer.status_code, answer.json()["error"]["param"]) == (status, param), answer.text
    assert not any(
        endpoint == "clip_text" and calls.get("input") == [{"text": "a"}] for endpoint, calls in filled.torchserve.calls
    )
    if status == 404 and param == "collection":
        assert "'none'" in answer.json()["error"]["message"]


def test_collections_that_differ_are_not_searched_together(filled):
    filled.index.collections["two"]["spec"]["fingerprint"] = "another"
    answer = filled.post("/v1/search", {**BOTH, "text": "cat"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "fingerprint_mismatch")
    filled.index.collections["one"]["spec"]["fingerprint"] = "another"
    assert filled.post("/v1/search", {**BOTH, "text": "cat"}).status_code == 409
    for name in ("one", "two"):
        filled.index.collections[name]["spec"]["fingerprint"] = filled.torchserve.fingerprint
    filled.index.collections["two"]["spec"]["metric"] = "dot"
    answer = filled.post("/v1/search", {**BOTH, "text": "cat"})
    assert (answer.status_code, answer.json()["error"]["param"]) == (409, "collections")
    assert "two" in answer.json()["error"]["message"]


def test_a_key_must_be_allowed_each(stack_of, tmp_path):
    store = KeyStore(tmp_path / "keys.sqlite3")
    secret, _ = store.create("one", ("search",), collections=("one",))
    stack = stack_of(keys_file=store.path)
    answer = stack.post("/v1/search", {**BOTH, "text": "cat"}, headers={"X-API-Key": secret})
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "collection_forbidden")
