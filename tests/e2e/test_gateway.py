"""The whole way: words find pictures through the gateway, TorchServe and the index service."""

from __future__ import annotations

import base64
import io
import json
import uuid
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from clip_core.wire import decode_vector
from scripts.demo.demo_collection import QUERY
from scripts.stack.live_stack import LiveStack
from tests.clip_core.test_images import huge_png
from tests.e2e.conftest import Answer, send
from tests.waiting import until

pytestmark = pytest.mark.e2e


def post(stack: LiveStack, path: str, body: Any, **headers: str) -> Answer:
    return send("POST", stack.gateway + path, body, **headers)


def gallery(stack: LiveStack) -> list[dict[str, Any]]:
    listing = stack.data_dir / "demo" / "gallery" / "gallery.jsonl"
    return [json.loads(line) for line in listing.read_text().splitlines()]


def data_uri(path: Path) -> str:
    return f"data:image/jpeg;base64,{base64.b64encode(path.read_bytes()).decode()}"


def search(stack: LiveStack, **body: Any) -> dict[str, Any]:
    answer = post(stack, "/v1/search", {"collection": "demo", "k": 5, **body})
    assert answer.status == 200, answer.raw
    found: dict[str, Any] = answer.json
    return found


def test_words_find_pictures(stack: LiveStack) -> None:
    rows = [row for row in gallery(stack) if row["metadata"]["objects"] == 1][:120]
    searches = [{"collection": "demo", "text": row["caption"], "k": 1} for row in rows]
    results = post(stack, "/v1/search/batch", {"searches": searches}).json["results"]
    right = sum(result["hits"][0]["id"] == row["id"] for result, row in zip(results, rows, strict=True))
    assert right / len(rows) >= 0.8


def test_up_ingested_everything_and_showed_a_search(stack: LiveStack) -> None:
    rows = gallery(stack)
    assert len(rows) >= 600
    for row in rows:
        with Image.open(stack.data_dir / "demo" / "gallery" / row["file"]) as picture:
            assert picture.width != picture.height
    assert send("GET", f"{stack.gateway}/v1/collections/demo").json["count"] == len(rows)
    assert QUERY in stack.text()
    assert stack.gateway in stack.text()


def test_a_picture_finds_itself(stack: LiveStack) -> None:
    for row in gallery(stack)[:5]:
        found = search(stack, image=data_uri(stack.data_dir / "demo" / "gallery" / row["file"]))
        assert found["hits"][0]["id"] == row["id"]
        assert found["hits"][0]["score"] > 0.999


def test_labels_have_the_probabilities_of_the_models_head(stack: LiveStack) -> None:
    row = next(row for row in gallery(stack) if row["metadata"]["objects"] == 1)
    picture = data_uri(stack.data_dir / "demo" / "gallery" / row["file"])
    labels = [row["caption"], "a blue plain square", "three green stars"]
    answer = post(stack, "/v1/classify", {"image": picture, "labels": labels}).json
    scale = send("GET", f"{stack.gateway}/v1/models").json["data"][0]["logit_scale"]
    assert scale == pytest.approx(26.299, abs=1e-3), "as the demo was trained"
    weights = np.exp([scale * entry["score"] for entry in answer["labels"]])
    found = [entry["probability"] for entry in answer["labels"]]
    np.testing.assert_allclose(found, weights / weights.sum(), rtol=1e-4)
    assert answer["activation"] == "softmax"


def test_words_and_a_picture_together(stack: LiveStack) -> None:
    row = next(row for row in gallery(stack) if row["metadata"]["color"] == "red" and row["metadata"]["objects"] == 1)
    query = [
        {"image": data_uri(stack.data_dir / "demo" / "gallery" / row["file"]), "weight": 1.0},
        {"text": "a blue plain square", "weight": 0.6},
        {"text": "a star", "weight": -0.3},
    ]
    assert len(search(stack, query=query)["hits"]) == 5


def test_filters_and_vectors(stack: LiveStack) -> None:
    found = search(stack, text="a star", k=50, filter={"color": {"$in": ["red", "blue"]}, "count": {"$gte": 2}})
    assert found["hits"]
    for hit in found["hits"]:
        assert hit["metadata"]["color"] in ("red", "blue")
        assert hit["metadata"]["count"] >= 2
    vector = post(stack, "/v1/embeddings", {"input": "a star", "encoding_format": "float"}).json["data"][0]["embedding"]
    by_text, by_vector = search(stack, text="a star"), search(stack, vector=vector)
    assert [hit["id"] for hit in by_vector["hits"]] == [hit["id"] for hit in by_text["hits"]]


def test_embeddings_are_openais(stack: LiveStack) -> None:
    body = {"model": "demo", "input": ["a dog", "a cat"], "truncate_prompt_tokens": 3}
    floats = post(stack, "/v1/embeddings", body | {"encoding_format": "float"}).json
    packed = post(stack, "/v1/embeddings", body | {"encoding_format": "base64"}).json
    assert floats["object"] == "list"
    assert floats["usage"]["total_tokens"] > 0
    for i in range(2):
        assert floats["data"][i]["index"] == i
        assert np.allclose(decode_vector(packed["data"][i]["embedding"]), floats["data"][i]["embedding"], atol=1e-6)


def test_a_long_text_is_cut_and_said_so(stack: LiveStack) -> None:
    long = "a large red circle " * 2500
    short, cut = post(stack, "/v1/embeddings", {"input": ["a star", long]}).json["data"]
    assert "truncated" not in short
    assert cut["truncated"] is True
    assert search(stack, text=long)["truncated"] is True
    assert post(stack, "/v1/embeddings", {"input": long, "truncate": "error"}).status == 400


def png(mode: str = "RGB", size: tuple[int, int] = (40, 30), color: Any = 128) -> str:
    buffer = io.BytesIO()
    Image.new(mode, size, color).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def as_base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


WHOLE = base64.b64decode(png(size=(200, 200)))


@pytest.mark.parametrize(
    ("path", "body", "status", "code"),
    [
        ("/v1/embeddings", {"input": as_base64(b"not an image"), "modality": "image"}, 400, "invalid_image"),
        ("/v1/embeddings", {"input": as_base64(WHOLE[: len(WHOLE) // 2]), "modality": "image"}, 400, "invalid_image"),
        ("/v1/embeddings", {"input": as_base64(huge_png(30_000, 30_000)), "modality": "image"}, 413, "image_too_large"),
        ("/v1/search", {"collection": "nowhere", "text": "x"}, 404, "collection_not_found"),
        ("/v1/search", {"collection": "demo", "text": "x", "filter": {"a": {"$near": 1}}}, 400, "invalid_filter"),
        ("/v1/search", {"collection": "demo", "vector": [1.0, 2.0]}, 400, "invalid_vector"),
    ],
)
def test_bad_input_has_a_clear_error(stack: LiveStack, path: str, body: Any, status: int, code: str) -> None:
    """What a worker or the index service refuses; the gateway's own refusals are in tests/gateway."""
    answer = post(stack, path, body)
    error = answer.json["error"]
    assert (answer.status, error["code"]) == (status, code), answer.raw
    assert set(error) >= {"message", "type", "param", "code"}
    assert error["message"]


@pytest.mark.parametrize("mode", ["RGBA", "L", "CMYK", "I;16"])
def test_odd_images_are_embedded(stack: LiveStack, mode: str) -> None:
    buffer = io.BytesIO()
    Image.new(mode, (50, 30)).save(buffer, "TIFF")
    answer = post(stack, "/v1/embeddings", {"input": as_base64(buffer.getvalue()), "modality": "image"})
    assert answer.status == 200, answer.raw


def test_the_life_of_a_collection(stack: LiveStack) -> None:
    name = f"life-{uuid.uuid4().hex[:8]}"
    url = f"{stack.gateway}/v1/collections/{name}"
    assert send("PUT", url, {"model": "demo"}).status in (200, 201)
    items = [
        {"id": "a", "text": "a red circle", "metadata": {"n": 1}},
        {"id": "b", "image": png(color=(200, 30, 30)), "metadata": {"n": 2}},
        {"id": "c", "image": as_base64(b"no image"), "metadata": {"n": 3}},
        {"id": "twice", "text": "first"},
        {"id": "twice", "text": "second"},
    ]
    results = send("POST", f"{url}/items", {"items": items}).json["results"]
    assert [result["status"] < 300 for result in results] == [True, True, False, False, True]
    assert all("error" in result for result in results if result["status"] >= 300)
    assert send("GET", url).json["count"] == 3
    assert send("GET", f"{url}/items/a").json["metadata"] == {"n": 1}
    assert send("DELETE", f"{url}/items/a").status == 200
    assert send("GET", f"{url}/items/a").status == 404
    assert send("POST", f"{url}/items/delete", {"filter": {"n": {"$gte": 2}}}).json["deleted"] == 1
    assert send("DELETE", url).status == 200
    assert send("GET", url).status == 404


def test_a_certificate_comes_with_words_pictures_and_mixes(stack: LiveStack) -> None:
    picture = data_uri(stack.data_dir / "demo" / "gallery" / gallery(stack)[0]["file"])
    mix = {"query": [{"text": "a star"}, {"image": picture, "weight": 0.5}]}
    for what in ({"text": "a star"}, {"image": picture}, mix, {"text": "a star", "filter": {"color": "red"}}):
        found = search(stack, exact="certified", **what)
        count = len([row for row in gallery(stack) if "filter" not in what or row["metadata"]["color"] == "red"])
        assert sum(found["certificate"].values()) == count
        assert found["hits"] == search(stack, exact=True, **what)["hits"]
    assert "certificate" not in search(stack, text="a star")


def test_searches_by_alias(stack: LiveStack) -> None:
    alias = f"shapes-{uuid.uuid4().hex[:8]}"
    url = f"{stack.gateway}/v1/aliases/{alias}"
    assert send("PUT", url, {"collection": "demo"}).json == {"name": alias, "collection": "demo"}
    picture = data_uri(stack.data_dir / "demo" / "gallery" / gallery(stack)[0]["file"])
    for what in ({"text": "a star"}, {"image": picture}, {"like": gallery(stack)[0]["id"]}):
        by_name, by_alias = search(stack, **what), search(stack, collection=alias, **what)
        assert [hit["id"] for hit in by_alias["hits"]] == [hit["id"] for hit in by_name["hits"]]
    assert send("DELETE", f"{stack.gateway}/v1/collections/demo").status == 409  # an alias leads to it
    assert send("DELETE", url).json == {"deleted": True}
    assert send("GET", url).status == 404


def test_models_health_and_docs(stack: LiveStack) -> None:
    models = send("GET", f"{stack.gateway}/v1/models").json
    assert [model["id"] for model in models["data"]] == ["demo"]
    for path in ("/healthz", "/readyz", "/docs", "/openapi.json", "/metrics", "/"):
        assert send("GET", stack.gateway + path).status == 200, path
    wrong = send("DELETE", f"{stack.gateway}/v1/search")
    assert (wrong.status, set(wrong.json)) == (405, {"error"})


def test_a_request_id_goes_through_all_three_processes(stack: LiveStack) -> None:
    identity = f"trace-{uuid.uuid4().hex}"
    body = {"collection": "demo", "text": "a star", "filter": {"shape": {"$regex": "star"}}}
    answer = post(stack, "/v1/search", body, X_Request_Id=identity)  # what went well has no line at the handler
    assert (answer.status, answer.headers["x-request-id"]) == (400, identity)
    for name in ("gateway", "torchserve", "index"):
        log = stack.log_dir / f"{name}.log"
        found = until(lambda log=log: [line for line in log.read_text().splitlines() if identity in line])
        assert json.loads(found[0])["service"], name
