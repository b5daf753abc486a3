"""Facets through the gateway."""

from __future__ import annotations

import pytest

FACETS = "/v1/collections/demo/facets"


def test_values_and_counts(stack):
    stack.fill("cat", "dog")
    answer = stack.client.get(FACETS, params={"field": ["word", "none"], "values": 1})
    assert answer.status_code == 200
    word, none = answer.json()["facets"]
    assert (word["field"], word["distinct"], len(word["values"])) == ("word", 2, 1)
    assert (none["missing"], none["values"]) == (2, [])


def test_what_is_asked_reaches_the_index(stack):
    stack.fill("cat")
    stack.client.get(FACETS, params={"filter": '{"word": {"$in": ["cat"]}}'})
    method, path, body = stack.index.calls[-1]
    assert (method, path) == ("POST", "/collections/demo/facets")
    assert body == {"values": 20, "filter": {"word": {"$in": ["cat"]}}}


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ({"values": 0}, "invalid_request"),
        ({"values": "many"}, "invalid_request"),
        ({"field": ["a"] * 17}, "invalid_request"),
        ({"filter": "{"}, "invalid_json"),
        ({"filter": "[]"}, "invalid_request"),
    ],
)
def test_bad_queries(stack, query, code):
    stack.fill("cat")
    answer = stack.client.get(FACETS, params=query)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, code)


@pytest.mark.parametrize("text", ["{", "[]"])
def test_a_bad_filter_is_named(stack, text):
    stack.fill("cat")
    error = stack.client.get(FACETS, params={"filter": text}).json()["error"]
    assert (error["param"], error["message"]) == ("filter", "`filter` is a JSON object")


def test_no_collection(stack):
    assert stack.client.get(FACETS).json()["error"]["code"] == "collection_not_found"
