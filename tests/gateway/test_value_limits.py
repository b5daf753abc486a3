"""Bodies that cost much by what they hold and not by their bytes are refused before any work is done for them."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from pydantic import ValidationError

from clip_core.errors import InvalidRequest, TooLarge
from clip_core.wire import MAX_FILTER_BYTES, SearchPart
from gateway.encode.labels import LabelVectors
from gateway.inputs.value_limits import VALUES_EACH, check_values
from gateway.routes.classify import check_prompts
from gateway.routes.cohere import _kinds
from gateway.schemas.base import Schema
from gateway.schemas.items import DeleteItemsRequest
from gateway.schemas.jobs import JobRequest
from gateway.schemas.ranking import ClassifyRequest

MANY = 80_000
NUMBERS, LISTS, OBJECTS = b"0," * MANY + b"0", b"[]," * (MANY // 4) + b"[]", b"{}," * (MANY // 4) + b"{}"
SEARCH = b'{"collection":"demo","text":"cat","filter":{"n":{"$in":[%s]}}}'
PATHS = {
    "search": SEARCH,
    "search/batch": b'{"searches":[' + SEARCH + b"]}",
    "embeddings": b'{"input":[%s]}',
    "classify": b'{"image":"x","labels":[%s]}',
    "rank": b'{"queries":[%s],"candidates":["a"]}',
    "collections/demo/items/delete": b'{"ids":[%s]}',
    "jobs": b'{"collection":"demo","source":{"urls":[%s]}}',
}


def refused(answer: Any) -> bool:
    error = answer.json()["error"]
    return answer.status_code == 413 and error["code"] == "request_too_large" and "JSON values" in error["message"]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("values", [NUMBERS, LISTS, OBJECTS], ids=["numbers", "lists", "objects"])
def test_a_body_of_too_many_values_is_refused(stack_of, path, values):
    stack = stack_of(max_items=16, max_inputs=16, max_embedding_inputs=16)
    assert refused(stack.client.post(f"/v1/{path}", content=PATHS[path] % values))
    assert not stack.torchserve.calls
    assert not stack.index.calls


def test_few_values_are_enough_to_create_a_collection(stack):
    assert refused(stack.client.put("/v1/collections/a", content=b'{"metadata":{"n":[%s]}}' % NUMBERS))
    assert refused(stack.client.put("/v1/aliases/a", content=b'{"collection":[%s]}' % NUMBERS))
    assert stack.client.put("/v1/collections/a").status_code == 201


def test_a_line_of_too_many_values_is_no_item(stack):
    stack.fill("cat")
    line = b'{"id":"a","text":"a","metadata":{"n":[%s]}}' % NUMBERS
    answer = stack.client.post("/v1/collections/demo/items/stream", content=line + b'\n{"id":"b","text":"b"}').json()
    assert (answer["added"], answer["failed"]) == (1, 1)
    assert answer["errors"][0]["error"]["param"] == "line 1"


def test_vectors_as_numbers_and_their_metadata_are_not_too_many():
    vector, metadata = [0.123456789] * 1536, {f"field{n}": [n, "red", {"a": n}] for n in range(64)}
    items = [{"id": str(n), "vector": vector, "metadata": metadata} for n in range(32)]
    check_values(orjson.dumps({"items": items}), 32 * VALUES_EACH)
    with pytest.raises(TooLarge):
        check_values(orjson.dumps({"items": items}), 16 * VALUES_EACH)


@pytest.mark.parametrize(
    ("model", "body"),
    [
        (DeleteItemsRequest, {"ids": [0] * 1000}),
        (DeleteItemsRequest, {f"k{n}": n for n in range(1000)}),
        (ClassifyRequest, {"image": "x", "labels": [0] * 1000}),
        (ClassifyRequest, {"image": "x", "labels": ["a"], "templates": [0] * 1000}),
        (ClassifyRequest, {"image": "x", "labels": ["a"], **{f"k{n}": n for n in range(1000)}}),
        (JobRequest, {"collection": "a", "source": {"folder": "a", **{f"k{n}": n for n in range(1000)}}}),
    ],
)
def test_few_problems_of_a_body_are_looked_for(model: type[Schema], body: dict[str, Any]):
    with pytest.raises(ValidationError) as caught:
        model.model_validate(body)
    assert caught.value.error_count() == 1


def test_a_large_filter_goes_nowhere(stack):
    search = {"collection": "demo", "text": "cat", "filter": {"n": {"$in": ["x" * MAX_FILTER_BYTES]}}}
    answer = stack.post("/v1/search", search)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_filter")
    assert not stack.torchserve.calls


def test_a_filter_is_not_copied():
    search = SearchPart.parse({"collection": "a", "filter": {"n": {"$in": [1]}}})
    assert search.to_dict()["filter"] is search.filter


def test_included_fields_are_few(stack):
    search = {"collection": "demo", "text": "cat", "include": [f"metadata.f{n}" for n in range(65)]}
    answer = stack.post("/v1/search", search)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "include")


@pytest.mark.parametrize(
    ("label", "template"),
    [("a" * 100_000, "{}"), ("a", "{}" * 500_000), ("a" * 1000, "{}" * 1000), ("a", "{}" + "b" * 10**6)],
)
def test_prompts_are_bounded_together(label, template):
    wanted = ClassifyRequest(image="x", labels=[label] * 10, templates=[template])
    with pytest.raises(TooLarge) as caught:
        check_prompts(wanted, 1000, 900_000)
    assert caught.value.param == "templates"
    with pytest.raises(InvalidRequest):
        check_prompts(ClassifyRequest(image="x", labels=["a"], templates=["a"]), 1000, 900_000)


def test_a_form_of_embedding_is_made_once():
    assert _kinds(["float", "binary"] * 1000) == ["float", "binary"]


def test_long_labels_are_not_kept():
    labels = LabelVectors(10)
    labels._keep("f", ["{}"], {"a" * 5000: None, "cat": None})  # type: ignore[dict-item]
    assert list(labels._kept) == [("f", "cat", ("{}",))]
