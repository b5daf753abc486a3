"""Query parameters that a call doesn't know, or that are given twice."""

from __future__ import annotations

import pytest

DEMO = "/v1/collections/demo"


@pytest.mark.parametrize(
    ("path", "param"),
    [
        (f"{DEMO}/items?limit=1&limit=2", "limit"),
        (f"{DEMO}/items?foo=1", "foo"),
        (f"{DEMO}/items?foo", "foo"),
        (f"{DEMO}/items?filter=%7B%7D&filter=%7B%7D", "filter"),
        (f"{DEMO}/items?filter_=%7B%7D", "filter_"),
        (f"{DEMO}/items/a?include=vector&include=vector", "include"),
        (f"{DEMO}/items/a/thumbnail?size=256&v=1", "v"),
        (f"{DEMO}/items/a/picture?include=vector", "include"),
        (f"{DEMO}/facets?values=1&values=2", "values"),
        (f"{DEMO}/duplicates?offset=1", "offset"),
        (f"{DEMO}?x=", "x"),
        ("/v1/collections?after=a", "after"),
        ("/v1/jobs?limit=1&limit=1", "limit"),
        ("/v1/stats?x=1", "x"),
    ],
)
def test_unknown_or_doubled_is_refused(stack, path, param):
    stack.fill("a")
    error = stack.client.get(path)
    assert error.status_code == 400, error.text
    assert (error.json()["error"]["code"], error.json()["error"]["param"]) == ("invalid_request", param)


def test_no_call_that_changes_something_ignores_one(stack):
    stack.fill("a")
    assert stack.post("/v1/search?k=3", {"collection": "demo", "text": "a"}).status_code == 400
    assert stack.client.delete(f"{DEMO}?dry_run=1").status_code == 400
    assert stack.client.delete(f"{DEMO}/items/a?force=1").status_code == 400
    assert stack.client.post(f"{DEMO}?force=1").status_code == 405
    assert set(stack.index.collections["demo"]["items"]) == {"a"}


@pytest.mark.parametrize(
    "path", ["/healthz?t=1", "/v1/models?api-version=1", "/metrics?x", "/?collection=demo", "/ui/app.js?v=1"]
)
def test_what_others_programs_call_ignores_them(stack, path):
    assert stack.client.get(path).status_code == 200


def test_embedding_calls_ignore_them(stack):
    assert stack.post("/v1/embeddings?api-version=1", {"input": "a"}).status_code == 200


def test_a_list_may_be_given_again(stack):
    stack.fill("a")
    assert stack.client.get(f"{DEMO}/facets?field=word&field=none").status_code == 200
