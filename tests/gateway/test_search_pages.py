"""Pages, least scores, single fields and more-like-this, in one search and in a batch."""

from __future__ import annotations

import numpy as np
import pytest

from clip_core.wire import unit
from tests.gateway.fakes import embed, picture_uri

WORDS = [f"word {n}" for n in range(25)]
QUERY = {"collection": "demo", "text": "word 3"}


@pytest.fixture
def filled(stack):
    stack.fill(*WORDS)
    return stack


def search(stack, **body):
    answer = stack.post("/v1/search", {**QUERY, **body})
    assert answer.status_code == 200, answer.text
    return answer.json()


def ids(answer):
    return [hit["id"] for hit in answer["hits"]]


def test_pages_join_to_the_whole_ranking(filled):
    whole = search(filled, k=25)
    seen, cursor = [], None
    while True:
        page = search(filled, k=7, cursor=cursor)
        seen += ids(page)
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert seen == ids(whole)
    assert len(set(seen)) == 25


def test_the_index_is_asked_no_deeper_than_the_page(filled):
    cursor = search(filled, k=5)["next_cursor"]
    search(filled, k=5, cursor=cursor)
    assert [body["search"]["k"] for _, body in filled.torchserve.calls] == [5, 10]


def test_a_cursor_belongs_to_its_query(filled):
    cursor = search(filled, k=5)["next_cursor"]
    for change in ({"text": "other"}, {"filter": {"word": "x"}}, {"min_score": 0.1}):
        answer = filled.post("/v1/search", {**QUERY, "cursor": cursor, **change})
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, "cursor")
    assert len(ids(search(filled, k=8, cursor=cursor, include=["vector"]))) == 8


def test_a_cursor_stays_when_the_same_query_is_written_otherwise(filled):
    cursor = search(filled, k=5)["next_cursor"]
    for same in ({"exact": False}, {"filter": None}, {"min_score": None, "model": None}):
        assert len(ids(search(filled, k=8, cursor=cursor, **same))) == 8


@pytest.mark.parametrize("what", [{"text": None, "image": picture_uri("word 3")}, {"exact": True}, {"model": "demo"}])
def test_a_cursor_of_another_input_or_option(filled, what):
    cursor = search(filled, k=5)["next_cursor"]
    answer = filled.post("/v1/search", {**QUERY, "cursor": cursor, **what})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "cursor")
    again = {**QUERY, **what}
    cursor = search(filled, **again, k=5)["next_cursor"]
    assert len(ids(search(filled, **again, k=8, cursor=cursor))) == 8


@pytest.mark.parametrize("cursor", ["", "x", "!!", "MTA", "é", 5, [], {}])
def test_no_cursor_at_all(filled, cursor):
    answer = filled.post("/v1/search", {**QUERY, "cursor": cursor})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "cursor")


def test_a_page_too_deep(filled):
    filled.index.collections["demo"]["items"].clear()
    cursor = "not full, so there is none"
    assert search(filled, k=10_000)["next_cursor"] is None
    assert filled.post("/v1/search", {**QUERY, "k": 10_000, "cursor": cursor}).status_code == 400


def test_min_score(filled):
    scores = [hit["score"] for hit in search(filled, k=25)["hits"]]
    least = (scores[3] + scores[4]) / 2
    found = search(filled, k=10, min_score=least)
    assert len(found["hits"]) == 4
    assert found["next_cursor"] is None
    first = search(filled, k=3, min_score=least)
    assert len(search(filled, k=3, min_score=least, cursor=first["next_cursor"])["hits"]) == 1


def test_min_score_may_be_any_number_since_inner_products_may(filled):
    assert len(search(filled, k=10, min_score=-2)["hits"]) == 10
    assert search(filled, k=10, min_score=1.5)["hits"] == []


@pytest.mark.parametrize("value", ["0.5", True, []])
def test_bad_min_score(filled, value):
    answer = filled.post("/v1/search", {**QUERY, "min_score": value})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "min_score")


def test_single_fields(stack):
    stack.fill("cat")
    item = {"id": "rich", "text": "rich", "metadata": {"color": "red", "n": 1, "file": "x"}}
    stack.post("/v1/collections/demo/items", {"items": [item]})
    body = {"collection": "demo", "text": "rich", "k": 1, "include": ["metadata.color", "metadata.none"]}
    assert stack.post("/v1/search", body).json()["hits"][0]["metadata"] == {"color": "red"}
    whole = stack.post("/v1/search", {**body, "include": ["metadata.color", "metadata"]}).json()["hits"][0]
    assert whole["metadata"] == item["metadata"]
    assert stack.post("/v1/search", {**body, "include": ["metadata."]}).json()["error"]["param"] == "include"


def test_more_like_this(filled):
    answer = filled.post("/v1/search", {"collection": "demo", "like": "word 7", "k": 24})
    assert answer.status_code == 200, answer.text
    found = ids(answer.json())
    expected = sorted((w for w in WORDS if w != "word 7"), key=lambda w: -float(embed(w) @ embed("word 7")))
    assert found == expected
    assert not filled.torchserve.calls


def test_more_like_this_has_pages(filled):
    body = {"collection": "demo", "like": "word 7", "k": 20}
    first = filled.post("/v1/search", body).json()
    second = filled.post("/v1/search", {**body, "cursor": first["next_cursor"]}).json()
    assert sorted(ids(first) + ids(second)) == sorted(set(WORDS) - {"word 7"})


def test_weighted_likes_and_words(filled):
    query = [{"like": "word 1"}, {"like": "word 2", "weight": -0.5}, {"text": "word 9", "weight": 2}]
    found = filled.post("/v1/search", {"collection": "demo", "query": query, "k": 23}).json()
    mixed = unit(embed("word 1") - 0.5 * embed("word 2") + 2 * embed("word 9"))
    rest = [word for word in WORDS if word not in ("word 1", "word 2")]
    assert ids(found) == sorted(rest, key=lambda w: -float(embed(w) @ mixed))


@pytest.mark.parametrize(
    ("change", "status", "code", "param"),
    [
        ({"like": "none"}, 404, "item_not_found", "like"),
        ({"like": "word 1", "collection": "none"}, 404, "collection_not_found", "collection"),
        ({"like": 5}, 400, "invalid_request", "like"),
        ({"like": ""}, 400, "invalid_request", "like"),
        ({"like": "x" * 513}, 400, "invalid_request", "like"),
        ({"query": [{"text": "a"}, {"like": "none"}]}, 404, "item_not_found", "query"),
        ({"query": [{"like": []}]}, 400, "invalid_request", "query[0].like"),
    ],
)
def test_bad_likes(filled, change, status, code, param):
    answer = filled.post("/v1/search", {"collection": "demo", **change})
    assert answer.status_code == status, answer.text
    assert (answer.json()["error"]["code"], answer.json()["error"]["param"]) == (code, param)


def test_all_of_it_in_a_batch(filled):
    searches = [
        {"collection": "demo", "like": "word 1", "k": 3},
        {"collection": "demo", "like": "none"},
        {**QUERY, "k": 2},
        {**QUERY, "min_score": 0.99},
    ]
    results = filled.post("/v1/search/batch", {"searches": searches}).json()["results"]
    assert [result["status"] for result in results] == [200, 404, 200, 200]
    assert "word 1" not in ids(results[0])
    assert (len(ids(results[2])), ids(results[3])) == (2, ["word 3"])
    page = {**searches[2], "cursor": results[2]["next_cursor"]}
    assert ids(filled.post("/v1/search/batch", {"searches": [page]}).json()["results"][0]) == ids(search(filled))[2:4]


def test_rank_texts_against_images_and_back(stack):
    body = {"queries": ["cat", {"text": "dog"}], "candidates": [{"image": picture_uri(w)} for w in ("dog", "cat")]}
    answer = stack.post("/v1/rank", body)
    assert answer.status_code == 200, answer.text
    results = answer.json()["results"]
    assert [[entry["index"] for entry in result["ranking"]] for result in results] == [[1, 0], [0, 1]]
    assert results[0]["ranking"][0]["score"] == pytest.approx(1.0, abs=1e-6)
    assert sum(entry["probability"] for entry in results[0]["ranking"]) == pytest.approx(1.0)
    back = {"queries": body["candidates"], "candidates": body["queries"], "top_n": 1}
    results = stack.post("/v1/rank", back).json()["results"]
    assert [[entry["index"] for entry in result["ranking"]] for result in results] == [[1], [0]]


@pytest.mark.parametrize(
    ("change", "status", "param"),
    [
        ({"queries": []}, 400, "queries"),
        ({"queries": ["a", 5]}, 400, "queries[1]"),
        ({"candidates": ["a", " "]}, 400, "candidates[1]"),
        ({"candidates": [{"image": "AAAA"}]}, 400, "candidates[0].image"),
        ({"candidates": [{"vector": [1.0]}]}, 400, "candidates[0]"),
        ({"candidates": ["a"] * 257}, 413, "candidates"),
        ({"top_n": 0}, 400, "top_n"),
        ({"model": "vit"}, 404, "model"),
    ],
)
def test_bad_rank(stack, change, status, param):
    answer = stack.post("/v1/rank", {"queries": ["a"], "candidates": ["b"], **change})
    assert answer.status_code == status, answer.text
    assert answer.json()["error"]["param"] == param


def texts_sent(stack):
    return [item["text"] for endpoint, body in stack.torchserve.calls for item in body["input"] if "text" in item]


def test_label_vectors_are_encoded_once(stack_of):
    stack = stack_of()
    body = {"image": picture_uri("a cat"), "labels": ["cat", "dog"], "templates": ["a {}", "{}"]}
    first = stack.post("/v1/classify", body).json()["labels"]
    assert sorted(texts_sent(stack)) == ["a cat", "a dog", "cat", "dog"]
    stack.torchserve.calls.clear()
    again = stack.post("/v1/classify", {**body, "labels": ["dog", "cat", "elk", "elk"]}).json()["labels"]
    assert texts_sent(stack) == ["a elk", "elk"]
    scores = {entry["label"]: entry["score"] for entry in again}
    assert all(scores[entry["label"]] == pytest.approx(entry["score"], abs=1e-6) for entry in first)
    assert len(again) == 4


def test_label_vectors_of_another_model_are_not_used(stack_of):
    stack = stack_of()
    body = {"image": picture_uri("cat"), "labels": ["cat", "dog"]}
    stack.post("/v1/classify", body)
    stack.torchserve.fingerprint = "other"
    stack.torchserve.calls.clear()
    answer = stack.post("/v1/classify", body).json()
    assert (answer["fingerprint"], texts_sent(stack)) == ("other", ["cat", "dog"])
    np.testing.assert_allclose(answer["labels"][0]["score"], 1.0, atol=1e-6)


def test_label_cache_is_bounded(stack_of):
    stack = stack_of(label_cache_size=2)
    body = {"image": picture_uri("cat"), "labels": ["a", "b", "c", "d"]}
    assert stack.post("/v1/classify", body).status_code == 200
    stack.torchserve.calls.clear()
    assert len(stack.post("/v1/classify", body).json()["labels"]) == 4
    assert texts_sent(stack) == ["a", "b"]
