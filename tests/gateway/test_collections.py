"""Collections and their items."""

from __future__ import annotations

import json

import numpy as np
import pytest

from clip_core.wire import decode_vector, encode_vector
from tests.gateway.fakes import embed, picture, picture_uri

ITEMS = "/v1/collections/demo/items"


def test_create_describe_list_drop(stack):
    made = stack.client.put("/v1/collections/demo", json={"model": "demo", "engine": "exact", "recall_target": 0.9})
    assert made.status_code == 201
    assert stack.index.calls[-1][2] == {
        "model": "demo",
        "fingerprint": "fp-demo",
        "dim": 16,
        "engine": "exact",
        "recall_target": 0.9,
    }
    assert stack.client.put("/v1/collections/demo").status_code == 200
    assert stack.client.get("/v1/collections/demo").json()["engine"] == "exact"
    assert [c["name"] for c in stack.client.get("/v1/collections").json()["collections"]] == ["demo"]
    assert stack.client.delete("/v1/collections/demo").json() == {"deleted": True}
    missing = stack.client.get("/v1/collections/demo")
    assert (missing.status_code, missing.json()["error"]["code"]) == (404, "collection_not_found")


@pytest.mark.parametrize(
    ("name", "body", "status", "code", "param"),
    [
        ("demo", {"model": "vit"}, 404, "model_not_found", "model"),
        ("demo", {"recall_target": 2}, 400, "invalid_request", "recall_target"),
        ("demo", {"engines": "x"}, 400, "invalid_request", "engines"),
        ("demo", {"metric": "l2"}, 400, "invalid_request", "metric"),
        ("demo", [], 400, "invalid_request", None),
        ("-bad", {}, 400, "invalid_request", "name"),
        ("a" * 65, {}, 400, "invalid_request", "name"),
    ],
)
def test_bad_collections(stack, name, body, status, code, param):
    answer = stack.client.put(f"/v1/collections/{name}", json=body)
    assert answer.status_code == status
    assert (answer.json()["error"]["code"], answer.json()["error"]["param"]) == (code, param)


def test_the_error_says_what_a_name_may_be(stack):
    made = stack.client.put("/v1/collections/-bad", json={})
    searched = stack.post("/v1/search", {"collection": "a b", "text": "cat"})
    for answer in (made, searched):
        assert "a name is 1 to 64 of A-Z a-z 0-9 _ -" in answer.json()["error"]["message"]


def test_inner_products_of_vectors_as_they_are(stack):
    made = stack.client.put("/v1/collections/demo", json={"metric": "dot"})
    assert (made.status_code, made.json()["metric"]) == (201, "dot")
    assert stack.index.calls[-1][2]["metric"] == "dot"
    vectors = [3 * embed("a"), 0 * embed("b"), -2 * embed("c")]
    items = [{"id": f"{n}", "vector": encode_vector(vector)} for n, vector in enumerate(vectors)]
    assert [one["status"] for one in stack.post(ITEMS, {"items": items}).json()["results"]] == [200, 200, 200]
    kept = stack.index.collections["demo"]["items"]
    assert [kept[f"{n}"]["vector"].tobytes() for n in range(3)] == [vector.tobytes() for vector in vectors]
    asked = {"collection": "demo", "vector": encode_vector(5 * embed("a")), "min_score": 10}
    (hit,) = stack.post("/v1/search", asked).json()["hits"]
    assert (hit["id"], hit["score"]) == ("0", pytest.approx(15, rel=1e-5))


def test_a_collection_of_cosines_refuses_a_vector_without_a_direction(stack):
    stack.fill("cat")
    items = [{"id": "good", "text": "a"}, {"id": "zero", "vector": [0.0] * 16}]
    good, zero = stack.post(ITEMS, {"items": items}).json()["results"]
    assert (good["status"], zero["status"]) == (200, 400)
    assert (zero["error"]["code"], zero["error"]["param"]) == ("invalid_vector", "items[1].vector")
    part = {"collection": "demo", "query": [{"text": "a"}, {"vector": [0.0] * 16}]}
    refused = stack.post("/v1/search", part)
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "query[1].vector")


def test_another_fingerprint_is_a_conflict(stack):
    stack.fill("cat")
    stack.torchserve.fingerprint = "other"
    assert stack.client.put("/v1/collections/demo", json={}).status_code == 409
    added = stack.post(ITEMS, {"items": [{"id": "x", "text": "x"}]})
    assert (added.status_code, added.json()["error"]["code"]) == (409, "fingerprint_mismatch")


def test_items_each_with_its_own_status(stack):
    stack.fill("cat")
    items = [
        {"id": "t", "text": "a tree", "metadata": {"n": 1}},
        {"id": "p", "image": picture_uri("pear")},
        {"id": "v", "vector": [float(x) * 2 for x in embed("vase")]},
        {"id": "bad image", "image": "AAAA"},
        {"id": "bad vector", "vector": [1.0, 2.0]},
        {"id": 7, "text": "x"},
        {"id": "none"},
        {"id": "meta", "text": "x", "metadata": []},
        "nonsense",
        {"id": "twice", "text": "first"},
        {"id": "twice", "text": "second"},
    ]
    answer = stack.post(ITEMS, {"items": items})
    assert answer.status_code == 200
    results = answer.json()["results"]
    statuses = [result["status"] for result in results]
    assert statuses == [200, 200, 200, 400, 400, 400, 400, 400, 400, 400, 200]
    assert [result["id"] for result in results][:3] == ["t", "p", "v"]
    assert results[3]["error"]["param"] == "items[3].image"
    assert results[4]["error"]["code"] == "invalid_vector"
    assert results[9]["error"]["code"] == "bad_input"
    kept = stack.index.collections["demo"]["items"]
    assert set(kept) == {"cat", "t", "p", "v", "twice"}
    np.testing.assert_allclose(kept["v"]["vector"], embed("vase"), atol=1e-6)
    np.testing.assert_array_equal(kept["twice"]["vector"], embed("second"))
    assert kept["t"]["metadata"] == {"n": 1}


def test_multipart_item(stack):
    stack.fill("cat")
    fields = {"id": "dir/p.png", "metadata": json.dumps({"file": "p.png"})}
    answer = stack.client.post(ITEMS, data=fields, files={"image": ("p.png", picture("pear"))})
    assert answer.json() == {"results": [{"id": "dir/p.png", "status": 200}]}
    assert stack.index.collections["demo"]["items"]["dir/p.png"]["metadata"]["file"] == "p.png"


def test_items_fan_out(stack):
    stack.fill("cat")
    items = [{"id": str(n), "image": picture_uri(str(n))} for n in range(20)]
    results = stack.post(ITEMS, {"items": items}).json()["results"]
    assert [result["status"] for result in results] == [200] * 20
    assert sorted(len(body["input"]) for _, body in stack.torchserve.calls) == [4, 8, 8]


def test_failed_chunk_stays_with_its_items(stack):
    stack.fill("cat")
    stack.torchserve.failure, stack.torchserve.failing_endpoint = "batch_failed", "clip_image"
    items = [{"id": "t", "text": "x"}, {"id": "i", "image": picture_uri("x")}]
    results = stack.post(ITEMS, {"items": items}).json()["results"]
    assert [result["status"] for result in results] == [200, 424]


@pytest.mark.parametrize(("items", "status"), [(None, 400), ([], 400), ([{"id": "a"}] * 1001, 413)])
def test_bad_item_lists(stack, items, status):
    stack.fill("cat")
    assert stack.post(ITEMS, {"items": items}).status_code == status


def test_unknown_collection_costs_no_encoding(stack):
    answer = stack.post("/v1/collections/none/items", {"items": [{"id": "a", "text": "a"}]})
    assert answer.status_code == 404
    assert not stack.torchserve.calls


def test_list_show_delete(stack):
    stack.fill("a/b c?.png", "dog", "elk")
    listed = stack.client.get(ITEMS, params={"limit": 2}).json()["items"]
    assert [item["id"] for item in listed] == ["a/b c?.png", "dog"]
    after = stack.client.get(ITEMS, params={"after": "dog"}).json()["items"]
    assert [item["id"] for item in after] == ["elk"]
    one = stack.client.get(f"{ITEMS}/a/b%20c%3F.png", params={"include": "vector"}).json()
    assert one["metadata"] == {"word": "a/b c?.png"}
    np.testing.assert_array_equal(decode_vector(one["vector"]), embed("a/b c?.png"))
    assert stack.client.delete(f"{ITEMS}/a%2Fb%20c%3F.png").json() == {"deleted": True}
    assert stack.client.get(f"{ITEMS}/a/b%20c%3F.png").json()["error"]["code"] == "item_not_found"


def test_bulk_delete(stack):
    stack.fill("cat", "dog")
    assert stack.post(f"{ITEMS}/delete", {"ids": ["cat", "none"]}).json() == {"deleted": 1}
    assert stack.index.calls[-1][2] == {"ids": ["cat", "none"]}
    bad = stack.post(f"{ITEMS}/delete", {"ids": "cat"})
    assert (bad.status_code, bad.json()["error"]["param"]) == (400, "ids")


@pytest.mark.parametrize("query", ["limit=0", "limit=x"])
def test_bad_query_parameters(stack, query):
    error = stack.client.get(f"{ITEMS}?{query}").json()["error"]
    assert (error["code"], error["param"]) == ("invalid_request", "limit")


def test_classify(stack):
    body = {"image": picture_uri("a photo of a cat"), "labels": ["dog", "cat"], "templates": ["a photo of a {}"]}
    answer = stack.post("/v1/classify", body)
    assert answer.status_code == 200, answer.text
    labels = answer.json()["labels"]
    assert [entry["label"] for entry in labels] == ["cat", "dog"]
    assert labels[0]["score"] == pytest.approx(1.0, abs=1e-6)
    assert sum(entry["probability"] for entry in labels) == pytest.approx(1.0)
    scores = np.array([entry["score"] for entry in labels])
    expected = np.exp(100 * scores) / np.exp(100 * scores).sum()
    np.testing.assert_allclose([entry["probability"] for entry in labels], expected, rtol=1e-4, atol=1e-12)


def test_classify_averages_templates(stack):
    body = {"image": picture_uri("x"), "labels": ["cat"], "templates": ["{}", "big {}"], "logit_scale": 1}
    score = stack.post("/v1/classify", body).json()["labels"][0]["score"]
    mean = embed("cat") + embed("big cat")
    assert score == pytest.approx(float(mean @ embed("x") / np.linalg.norm(mean)), abs=1e-6)


def test_classify_upload(stack):
    data = {"labels": json.dumps(["cat", "dog"])}
    answer = stack.client.post("/v1/classify", data=data, files={"image": ("c.png", picture("cat"))})
    assert answer.json()["labels"][0]["label"] == "cat"


@pytest.mark.parametrize(
    ("change", "status", "param"),
    [
        ({"labels": []}, 400, "labels"),
        ({"labels": [1]}, 400, "labels[0]"),
        ({"labels": None}, 400, "labels"),
        ({"templates": ["a photo"]}, 400, "templates[0]"),
        ({"image": "https://x.org/a.png"}, 400, "image"),
        ({"image": "AAAA"}, 400, "image"),
        ({"labels": ["a", " "], "templates": ["{}"]}, 400, "labels"),
        ({"labels": ["a"] * 1001}, 413, "labels"),
        ({"model": "vit"}, 404, "model"),
    ],
)
def test_bad_classify(stack, change, status, param):
    answer = stack.post("/v1/classify", {"image": picture_uri("x"), "labels": ["a", "b"], **change})
    assert answer.status_code == status, answer.text
    assert answer.json()["error"]["param"] == param


def test_own_vectors_need_no_torchserve(stack):
    stack.fill("cat")
    stack.torchserve.failure = "queue_full"
    items = [{"id": "v", "vector": encode_vector(embed("v"))}]
    assert stack.post(ITEMS, {"items": items}).json()["results"][0]["status"] == 200


def test_items_go_to_the_index_with_what_they_could_be_embedded_from_again(stack):
    stack.client.put("/v1/collections/demo")
    vector = encode_vector(embed("cat"))
    items = [
        {"id": "text", "text": "a cat"},
        {"id": "long", "text": "x" * 8193},
        {"id": "bytes", "image": picture_uri("cat")},
        {"id": "own", "vector": vector},
    ]
    assert stack.post(ITEMS, {"items": items}).status_code == 200
    written = [item for method, path, body in stack.index.calls if method == "POST" for item in body["items"]]
    sources = {item["id"]: item.get("source") for item in written}
    assert sources == {"text": {"text": "a cat"}, "long": None, "bytes": None, "own": None}
