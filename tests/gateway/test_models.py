"""Several models behind one gateway: which one answers, and what is said where none does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.gateway.conftest import Stack
from tests.gateway.fakes import FakeTorchServe, picture_uri, serving
from tests.gateway.model_rows import DEMO, OTHER, write
from tests.waiting import until


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return write(tmp_path / "models.json", DEMO, OTHER)


@pytest.fixture
def two(stack_of: Any, file: Path) -> Stack:
    """The models demo and other, and a collection of each."""
    stack: Stack = stack_of(models_file=file)
    stack.torchserve.serve("other", "fp-other")
    stack.fill("a", "b")
    assert stack.client.put("/v1/collections/others", json={"model": "other"}).status_code == 201
    items = [{"id": "c", "text": "c"}, {"id": "d", "image": picture_uri("d")}]
    results = stack.post("/v1/collections/others/items", {"items": items}).json()["results"]
    assert [result["status"] for result in results] == [200, 200]
    stack.torchserve.calls.clear()
    stack.index.calls.clear()
    return stack


def test_a_captioner_is_told_beside_the_models(stack_of: Any, tmp_path: Path) -> None:
    stack: Stack = stack_of(models_file=write(tmp_path / "models.json", DEMO | {"caption": "clip_caption"}))
    assert stack.client.get("/readyz").json()["models"] == {"clip_caption": "ok"}
    stack.torchserve.workers = "STOPPED"
    answer = stack.client.get("/readyz")
    assert (answer.status_code, "no worker" in answer.json()["models"]["clip_caption"]) == (200, True)


def test_a_captioner_that_nobody_named_is_told_where_torchserve_knows_it(stack: Stack) -> None:
    stack.torchserve.workers = "STOPPED"
    assert "no worker" in stack.client.get("/readyz").json()["models"]["clip_caption"]
    stack.torchserve.captioner.endpoints = set()
    until(lambda: stack.client.get("/readyz").json()["models"] == {})


def asked(stack: Stack) -> list[str]:
    """The endpoints that were called."""
    return [endpoint for endpoint, body in stack.torchserve.calls if "describe" not in body]


def error(answer: Any) -> tuple[int, str, str]:
    body = answer.json()["error"]
    return answer.status_code, body["code"], body["message"]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/embeddings", {"input": ["a", "b"]}),
        ("/v1/classify", {"image": picture_uri("a"), "labels": ["a", "b"]}),
        ("/v1/rank", {"queries": ["a"], "candidates": ["a", "b"]}),
        ("/v2/embed", {"texts": ["a"]}),
        ("/v1/multimodalembeddings", {"inputs": [{"content": [{"type": "text", "text": "a"}]}]}),
        ("/v1/search", {"collection": "others", "text": "c"}),
        ("/v1/search/batch", {"searches": [{"collection": "others", "text": "c"}]}),
    ],
)
def test_the_model_of_a_request_answers(two: Stack, path: str, body: dict[str, Any]) -> None:
    def named(model: str) -> dict[str, Any]:
        if "searches" in body:
            return {"searches": [{**body["searches"][0], "model": model}]}
        return {**body, "model": model}

    assert two.post(path, named("other")).is_success
    assert asked(two)
    assert all(endpoint.startswith("other_") for endpoint in asked(two))
    answer = two.post(path, named("third"))
    status, body = answer.status_code, answer.json()
    if "searches" in body or "results" in body:
        status, body = body["results"][0]["status"], body["results"][0]
    assert (status, body["error"]["code"]) == (404, "model_not_found")
    assert "'demo' and 'other' are" in body["error"]["message"]


def test_the_model_of_a_kserve_path_answers(two: Stack) -> None:
    tensor = {"name": "TEXT", "datatype": "BYTES", "shape": [1], "data": ["a"]}
    answer = two.post("/v2/models/other/infer", {"inputs": [tensor]})
    assert (answer.json()["model_name"], asked(two)) == ("other", ["other_text"])
    assert two.client.get("/v2/models/other").json()["name"] == "other"
    refused = two.post("/v2/models/third/infer", {"inputs": [tensor]})
    assert (refused.status_code, set(refused.json())) == (404, {"error"})
    two.torchserve.failure, two.torchserve.failing_endpoint = "unregistered", "other_text"
    ready = [two.client.get(f"/v2/models/{name}/ready").status_code for name in ("demo", "other")]
    assert ready == [200, 503]
    assert two.client.get("/v2/health/ready").status_code == 200


def test_without_a_model_the_default_answers(two: Stack) -> None:
    assert two.post("/v1/embeddings", {"input": "a"}).json()["model"] == "demo"
    assert asked(two) == ["clip_text"]


def test_the_collection_of_a_search_decides(two: Stack) -> None:
    answer = two.post("/v1/search", {"collection": "others", "text": "c", "k": 1}).json()
    assert (answer["hits"][0]["id"], answer["model"], answer["fingerprint"]) == ("c", "other", "fp-other")
    assert two.post("/v1/search", {"collection": "demo", "text": "a", "k": 1}).json()["model"] == "demo"
    searches = [{"collection": name, "text": "c", "k": 1} for name in ("others", "demo", "others")]
    searches += [{"collection": "none", "text": "c"}, {"collection": "others", "like": "d", "k": 1}]
    results = two.post("/v1/search/batch", {"searches": searches}).json()["results"]
    assert [result["status"] for result in results] == [200, 200, 200, 404, 200]
    assert [result.get("model") for result in results] == ["other", "demo", "other", None, "other"]


def test_a_collection_that_is_there_keeps_its_model(two: Stack) -> None:
    again = two.client.put("/v1/collections/others", json={})
    assert (again.status_code, again.json()["model"]) == (200, "other")
    assert error(two.client.put("/v1/collections/others", json={"model": "demo"}))[1] == "fingerprint_mismatch"
    assert two.client.put("/v1/collections/new", json={}).json()["model"] == "demo"


def test_a_collection_is_asked_for_once_in_a_while(two: Stack) -> None:
    for _ in range(5):
        assert two.post("/v1/search", {"collection": "others", "text": "c"}).is_success
    assert len(two.index.calls) < 5


def test_with_one_model_no_search_asks_for_its_collection(stack_of: Any, tmp_path: Path) -> None:
    stack = stack_of(models_file=write(tmp_path / "models.json", DEMO))
    stack.fill("a")
    for body in ({"text": "a"}, {"text": "a", "model": "demo"}, {"image": picture_uri("a")}):
        assert stack.post("/v1/search", {"collection": "demo", **body}).is_success
    assert stack.index.calls == []
    assert len(stack.torchserve.calls) == 3


def test_a_collection_made_anew_for_another_model(two: Stack) -> None:
    assert two.post("/v1/search", {"collection": "others", "text": "c"}).is_success
    two.index.collections["others"]["spec"] |= {"fingerprint": "fp-demo", "model": "demo"}
    assert two.post("/v1/search", {"collection": "others", "text": "c"}).json()["model"] == "demo"


def test_a_model_and_a_collection_of_another(two: Stack) -> None:
    status, code, message = error(two.post("/v1/search", {"collection": "others", "text": "c", "model": "demo"}))
    assert (status, code) == (409, "fingerprint_mismatch")
    assert "'demo'" in message
    assert "'other'" in message
    vector = two.post("/v1/embeddings", {"input": "c", "encoding_format": "base64"}).json()["data"][0]["embedding"]
    answer = two.post("/v1/search", {"collection": "others", "vector": vector, "model": "demo"})
    assert error(answer)[:2] == (409, "fingerprint_mismatch")
    answer = two.post("/v1/search", {"collections": ["others"], "text": "c", "model": "demo"})
    assert error(answer)[:2] == (409, "fingerprint_mismatch")


def test_items_for_a_collection_of_another_model(two: Stack) -> None:
    path, item = "/v1/collections/others/items", {"id": "e", "text": "e"}
    form = two.client.post(path, data={"id": "e", "text": "e", "model": "demo"}, files={"none": b""})
    named = [two.post(path, {"items": [item], "model": "demo"}), two.post(path, {**item, "model": "demo"}), form]
    for answer in named:
        status, code, message = error(answer)
        assert (status, code, answer.json()["error"]["param"]) == (409, "fingerprint_mismatch", "model"), answer.json()
        assert "'demo'" in message
        assert "'other'" in message
    assert error(two.post(path, {"items": [item], "model": "nobody"}))[:2] == (404, "model_not_found")
    assert "e" not in two.index.collections["others"]["items"]
    assert not asked(two)
    assert two.post(path, {"items": [item], "model": "other"}).json()["results"] == [{"id": "e", "status": 200}]


def test_an_item_that_names_another_model_stops_no_neighbour(two: Stack) -> None:
    bad, good = {"id": "e", "text": "e", "model": "demo"}, {"id": "f", "text": "f", "model": "other"}
    one, two_ = two.post("/v1/collections/others/items", {"items": [bad, good]}).json()["results"]
    assert (one["status"], one["error"]["param"], two_["status"]) == (409, "items[0].model", 200)
    lines = b"\n".join(json.dumps(each).encode() for each in (bad, good))
    told = two.client.post("/v1/collections/others/items/stream", content=lines).json()
    assert (told["added"], told["errors"][0]["line"], told["errors"][0]["status"]) == (1, 1, 409)


def test_a_collection_is_not_made_again_for_another_model(two: Stack) -> None:
    answer = two.client.put("/v1/collections/others", json={"model": "demo"})
    status, code, message = error(answer)
    assert (status, code, answer.json()["error"]["param"]) == (409, "fingerprint_mismatch", "model")
    assert "'demo'" in message
    assert "'other'" in message
    assert "fp-" not in message


def test_a_collection_of_a_model_that_is_not_served(two: Stack) -> None:
    two.index.collections["others"]["spec"] |= {"fingerprint": "fp-gone", "model": "gone"}
    items = {"items": [{"id": "e", "text": "e"}]}
    for answer in (
        two.post("/v1/search", {"collection": "others", "text": "c"}),
        two.post("/v1/search", {"collections": ["others"], "text": "c"}),
        two.client.get("/v1/collections/others/score_guidance"),
    ):
        status, code, message = error(answer)
        assert (status, code) == (409, "fingerprint_mismatch")
        assert "'gone'" in message
    assert two.post("/v1/collections/others/items", items).status_code == 409
    assert "e" not in two.index.collections["others"]["items"]
    assert asked(two) == ["other_text"], "what was known of the collection was of before"


def test_across_collections_items_and_guidance_are_of_the_collections_model(two: Stack) -> None:
    assert two.post("/v1/search", {"collections": ["others"], "text": "c"}).json()["model"] == "other"
    two.post("/v1/collections/others/items", {"items": [{"id": "e", "text": "e"}]})
    assert two.client.get("/v1/collections/others/score_guidance").json()["model"] == "other"
    assert set(asked(two)) == {"other_text"}
    mixed = two.post("/v1/search", {"collections": ["others", "demo"], "text": "c"})
    assert error(mixed)[:2] == (409, "fingerprint_mismatch")


def test_models_are_listed_with_their_facts(two: Stack) -> None:
    known = {"context_length": 77, "precision": "int8", "licence": "mit", "source": "hf-hub:a/b"}
    two.torchserve.facts = {**known, "weights_sha256": "0f" * 32}
    demo, other = two.client.get("/v1/models").json()["data"]
    assert (demo["id"], demo["default"], other["id"], other["default"]) == ("demo", True, "other", False)
    assert (other["fingerprint"], other["dimensions"], other["context_length"]) == ("fp-other", 16, 77)
    assert (other["precision"], other["licence"], other["source"], other["revision"]) == (
        "int8",
        "mit",
        "hf-hub:a/b",
        None,
    )
    assert other["weights_sha256"] == "0f" * 32
    assert other["endpoints"] == ["other_text", "other_image", "other_multimodal"]
    assert two.client.get("/v1/models/other").json() == other
    assert error(two.client.get("/v1/models/third"))[:2] == (404, "model_not_found")
    assert all("facts" not in str(body) for _, body in two.torchserve.calls)


def test_a_model_that_does_not_answer_is_listed_and_known(two: Stack) -> None:
    two.client.get("/v1/models")
    two.torchserve.failure, two.torchserve.failing_endpoint = "unregistered", "other_text"
    demo, other = two.client.get("/v1/models").json()["data"]
    assert (demo["status"], other["status"]) == ("ready", "unavailable")
    assert (other["dimensions"], other["fingerprint"]) == (16, "fp-other")
    assert "other_text" in other["message"]
    assert two.post("/v1/search", {"collection": "demo", "text": "a"}).is_success


def test_readiness_is_about_the_default_model(two: Stack) -> None:
    two.torchserve.failure, two.torchserve.failing_endpoint = "unregistered", "other_text"
    answer = two.client.get("/readyz")
    assert answer.status_code == 200
    assert answer.json()["models"]["other"].startswith("other_text: ")
    two.torchserve.failing_endpoint = "clip_image"
    answer = two.client.get("/readyz")
    assert answer.status_code == 503
    assert (list(answer.json()["parts"]), answer.json()["models"]) == (
        ["clip_text", "clip_image", "clip_multimodal", "index"],
        {"clip_caption": "ok", "other": "ok"},
    )


def test_without_a_model_all_else_works(stack_of: Any, tmp_path: Path) -> None:
    path = write(tmp_path / "models.json", DEMO)
    stack = stack_of(models_file=path)
    stack.fill("a")
    write(path)
    until(lambda: stack.client.get("/v1/models").json()["data"] == [])
    for there in (
        "/healthz",
        "/readyz",
        "/",
        "/v1/models",
        "/v1/collections",
        "/v1/collections/demo/items",
        "/v1/stats",
    ):
        assert stack.client.get(there).status_code == 200, there
    vector = stack.client.get("/v1/collections/demo/items/a?include=vector").json()["vector"]
    assert stack.post("/v1/search", {"collection": "demo", "vector": vector}).json()["hits"]
    assert stack.post("/v1/search", {"collection": "demo", "like": "a"}).is_success
    for path_, body in (
        ("/v1/embeddings", {"input": "a"}),
        ("/v1/embeddings", {"input": "a", "model": "demo"}),
        ("/v1/search", {"collection": "demo", "text": "a"}),
        ("/v1/search", {"collections": ["demo"], "text": "a"}),
        ("/v1/collections/demo/items", {"items": [{"id": "b", "text": "b"}]}),
        ("/v1/rank", {"queries": ["a"], "candidates": ["b"]}),
    ):
        status, code, message = error(stack.post(path_, body))
        assert (status, code) == (503, "no_model")
        assert "clipserve model add" in message
    assert error(stack.client.put("/v1/collections/new", json={}))[1] == "no_model"


def test_rows_come_and_go_while_it_serves(two: Stack, file: Path) -> None:
    third = {"name": "third", "text": "other_text", "image": "other_image", "multimodal": "other_multimodal"}
    write(file, DEMO, third)
    until(lambda: [each["id"] for each in two.client.get("/v1/models").json()["data"]] == ["demo", "third"])
    assert error(two.post("/v1/embeddings", {"input": "a", "model": "other"}))[1] == "model_not_found"
    assert two.post("/v1/embeddings", {"input": "a", "model": "third"}).json()["model"] == "third"
    assert two.post("/v1/search", {"collection": "others", "text": "c"}).json()["model"] == "third"
    write(file, {**DEMO, "default": False}, {**third, "default": True})
    until(lambda: two.post("/v1/embeddings", {"input": "a"}).json()["model"] == "third")


def test_two_torchserves_with_endpoints_of_the_same_names(stack_of: Any, tmp_path: Path) -> None:
    """Each has admissions of its own, and texts for one never travel with texts for the other."""
    path = write(tmp_path / "models.json", DEMO)
    stack = stack_of(models_file=path)
    far = FakeTorchServe(stack.index, fingerprint="fp-far", model="far")
    with serving(far.app()) as url:
        write(path, DEMO, {**DEMO, "name": "far", "default": False, "torchserve_url": url, "management_url": url})
        until(lambda: len(stack.client.get("/v1/models").json()["data"]) == 2)
        far.failure = "queue_full"
        assert stack.post("/v1/embeddings", {"input": "a", "model": "far"}).status_code == 429
        assert stack.post("/v1/embeddings", {"input": "a", "model": "demo"}).json()["model"] == "demo"
        far.failure = None
        assert stack.post("/v1/embeddings", {"input": "a", "model": "far"}).json()["model"] == "far"
        assert stack.client.get("/v1/stats").is_success
