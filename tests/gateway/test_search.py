"""POST /v1/search and /v1/search/batch."""

from __future__ import annotations

import json

import numpy as np
import pytest

from clip_core.wire import encode_vector
from tests.gateway.fakes import embed, picture, picture_uri


@pytest.fixture
def filled(stack):
    stack.fill("cat", "dog", "red car")
    return stack


def ids(answer):
    assert answer.status_code == 200, answer.text
    return [hit["id"] for hit in answer.json()["hits"]]


def test_text_goes_through_torchserve_alone(filled):
    answer = filled.post("/v1/search", {"collection": "demo", "text": "dog", "k": 2})
    assert ids(answer)[0] == "dog"
    body = answer.json()
    assert body["collection"] == "demo"
    assert (body["model"], body["fingerprint"]) == ("demo", "fp-demo")
    assert body["hits"][0]["metadata"] == {"word": "dog"}
    assert body["hits"][0]["score"] == pytest.approx(1.0, abs=1e-6)
    assert (body["timing"]["encode_ms"], body["timing"]["search_ms"]) == (1.5, 0.5)
    assert body["timing"]["total_ms"] > 0
    endpoint, sent = filled.torchserve.calls[-1]
    assert endpoint == "clip_text"
    assert sent["search"]["k"] == 2
    assert not filled.index.calls


def test_image(filled):
    answer = filled.post("/v1/search", {"collection": "demo", "image": picture_uri("cat")})
    assert ids(answer)[0] == "cat"
    assert filled.torchserve.calls[-1][0] == "clip_image"


def test_upload_with_fields(filled):
    fields = {"collection": "demo", "k": "2", "filter": json.dumps({"word": "dog"})}
    files = {"image": ("cat.png", picture("cat"), "image/png")}
    assert ids(filled.client.post("/v1/search", data=fields, files=files)) == ["dog"]


def test_bad_form_field(filled):
    files = {"image": ("cat.png", picture("cat"))}
    answer = filled.client.post("/v1/search", data={"collection": "demo", "k": "many"}, files=files)
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "k"


@pytest.mark.parametrize("as_list", [True, False])
def test_own_vector_goes_straight_to_the_index(filled, as_list):
    vector = [float(x) * 3 for x in embed("dog")] if as_list else encode_vector(embed("dog"))
    answer = filled.post("/v1/search", {"collection": "demo", "vector": vector, "k": 1})
    assert ids(answer) == ["dog"]
    assert answer.json()["hits"][0]["score"] == pytest.approx(1.0, abs=1e-6)
    assert answer.json()["model"] == "demo"
    assert not filled.torchserve.calls


@pytest.mark.parametrize(
    ("parts", "endpoint"),
    [
        ([{"text": "cat"}, {"image": picture_uri("dog"), "weight": -0.5}], "clip_multimodal"),
        ([{"text": "cat"}, {"text": "dog", "weight": -0.5}], "clip_text"),
        ([{"image": picture_uri("cat")}, {"image": picture_uri("dog"), "weight": -1}], "clip_image"),
        ([{"text": "cat"}, {"vector": encode_vector(embed("dog")), "weight": -1}], "clip_text"),
        ([{"vector": encode_vector(embed("cat"))}], "clip_multimodal"),
    ],
)
def test_weighted_query(filled, parts, endpoint):
    assert ids(filled.post("/v1/search", {"collection": "demo", "query": parts}))[0] == "cat"
    assert filled.torchserve.calls[-1][0] == endpoint


@pytest.mark.parametrize(
    ("change", "status", "code", "param"),
    [
        ({}, 400, "invalid_request", None),
        ({"text": "a", "image": picture_uri("b")}, 400, "invalid_request", "image"),
        ({"text": 5}, 400, "invalid_text", "text"),
        ({"text": " "}, 400, "invalid_text", "text"),
        ({"text": "a", "k": 0}, 400, "bad_input", "k"),
        ({"text": "a", "k": "5"}, 400, "bad_input", "k"),
        ({"text": "a", "filter": []}, 400, "bad_input", "filter"),
        ({"text": "a", "include": ["all"]}, 400, "bad_input", "include"),
        ({"text": "a", "filters": {}}, 400, "invalid_request", "filters"),
        ({"text": "a", "collection": None}, 400, "bad_input", "collection"),
        ({"text": "a", "collection": "none"}, 404, "collection_not_found", "collection"),
        ({"text": "a", "model": "vit"}, 404, "model_not_found", "model"),
        ({"image": "http://x.org/a.png"}, 400, "fetch_refused", "image"),
        ({"image": "!!!"}, 400, "invalid_image", "image"),
        ({"image": 1}, 400, "invalid_image", "image"),
        ({"vector": [1, 2]}, 400, "invalid_vector", "vector"),
        ({"vector": "???"}, 400, "invalid_vector", "vector"),
        ({"vector": ["a"]}, 400, "invalid_vector", "vector"),
        ({"vector": [0.0] * 16}, 400, "invalid_vector", "vector"),
        ({"vector": encode_vector(np.full(16, np.nan, np.float32))}, 400, "invalid_vector", "vector"),
        ({"vector": [1.0] * 16, "collection": "none"}, 404, "collection_not_found", "collection"),
        ({"query": []}, 400, "invalid_request", "query"),
        ({"query": ["a"]}, 400, "invalid_request", "query[0]"),
        ({"query": [{"text": "a", "image": picture_uri("b")}]}, 400, "invalid_request", "query[0]"),
        ({"query": [{"text": "a", "weight": "x"}]}, 400, "invalid_request", "query[0].weight"),
        ({"query": [{"text": "a"}, {"text": "b", "weight": 0}]}, 400, "invalid_request", "query[1].weight"),
        ({"query": [{"text": "a"}, {"weight": 1}]}, 400, "invalid_request", "query[1]"),
    ],
)
def test_bad_searches(filled, change, status, code, param):
    good, bad = {"collection": "demo", "text": "dog"}, {"collection": "demo", **change}
    answer = filled.post("/v1/search", bad)
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert (error["code"], error["param"]) == (code, param)
    results = filled.post("/v1/search/batch", {"searches": [good, bad, good]}).json()["results"]
    assert [result["status"] for result in results] == [200, status, 200]


def test_fingerprint_mismatch_is_409(filled):
    filled.torchserve.fingerprint = "another"
    answer = filled.post("/v1/search", {"collection": "demo", "text": "dog"})
    assert answer.status_code == 409
    assert answer.json()["error"]["code"] == "fingerprint_mismatch"


def test_batch_each_with_its_own_status(filled):
    searches = [
        {"collection": "demo", "text": "dog", "k": 1},
        {"collection": "demo", "vector": encode_vector(embed("cat")), "k": 1},
        {"collection": "none", "text": "dog"},
        {"collection": "demo", "k": 1},
        {"collection": "demo", "image": picture_uri("red car"), "k": 1},
        {"collection": "demo", "text": "cat", "k": 1},
        "nonsense",
        {"collection": "demo", "text": "a", "model": "vit"},
        {"collection": "demo", "vector": [1.0]},
    ]
    answer = filled.post("/v1/search/batch", {"searches": searches})
    assert answer.status_code == 200, answer.text
    results = answer.json()["results"]
    assert [result["status"] for result in results] == [200, 200, 404, 400, 200, 200, 400, 404, 400]
    hits = [result["hits"][0]["id"] for result in results if result["status"] == 200]
    assert hits == ["dog", "cat", "red car", "cat"]
    assert results[3]["error"]["param"] == "searches[3]"
    assert results[8]["error"]["param"] == "searches[8].vector"
    assert set(answer.json()["timing"]) == {"total_ms", "encode_ms", "search_ms"}


def test_a_batch_has_no_field_for_all_its_searches(filled):
    searches = [{"collection": "demo", "text": "a"}]
    answer = filled.post("/v1/search/batch", {"rerank": "tree", "searches": searches})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "rerank")


def test_batch_shares_torchserve_requests(filled):
    searches = [{"collection": "demo", "text": f"w{n}", "k": 3} for n in range(40)]
    results = filled.post("/v1/search/batch", {"searches": searches}).json()["results"]
    assert len(results) == 40
    assert [len(body["input"]) for _, body in filled.torchserve.calls] == [32, 8]


@pytest.mark.parametrize(
    ("searches", "status"), [(None, 400), ([], 400), ([{"collection": "demo", "text": "a"}] * 257, 413)]
)
def test_bad_batches(filled, searches, status):
    answer = filled.post("/v1/search/batch", {"searches": searches})
    assert answer.status_code == status
    assert answer.json()["error"]["param"] == "searches"
