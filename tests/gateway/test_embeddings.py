"""POST /v1/embeddings."""

from __future__ import annotations

import base64

import numpy as np
import pytest

from clip_core.wire import encode_vector
from tests.gateway.fakes import DIM, embed, picture, picture_uri


def test_openai_float(stack):
    answer = stack.post("/v1/embeddings", {"input": "a red circle", "model": "demo", "user": "x"})
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert body["object"] == "list"
    assert body["model"] == "demo"
    assert body["usage"] == {"prompt_tokens": 5, "total_tokens": 5}
    np.testing.assert_array_equal(np.float32(body["data"][0]["embedding"]), embed("a red circle"))
    assert stack.torchserve.calls[-1][0] == "clip_text"


def test_openai_base64(stack):
    body = {"input": ["a", "b"], "encoding_format": "base64"}
    data = stack.post("/v1/embeddings", body).json()["data"]
    assert [entry["embedding"] for entry in data] == [encode_vector(embed("a")), encode_vector(embed("b"))]
    assert [entry["index"] for entry in data] == [0, 1]


@pytest.mark.parametrize(
    "reference", [picture_uri("cat"), base64.b64encode(picture("cat")).decode()], ids=["data-uri", "base64"]
)
def test_infinity_images(stack, reference):
    body = {"input": [reference], "modality": "image", "encoding_format": "base64"}
    data = stack.post("/v1/embeddings", body).json()["data"]
    assert data[0]["embedding"] == encode_vector(embed("cat"))
    assert stack.torchserve.calls[-1][0] == "clip_image"


def test_mixed_list_keeps_its_order(stack):
    items = [{"text": "a"}, {"image": picture_uri("b")}, "c", {"image": picture_uri("d")}, {"text": "e"}]
    data = stack.post("/v1/embeddings", {"input": items, "encoding_format": "base64"}).json()["data"]
    assert [entry["embedding"] for entry in data] == [encode_vector(embed(word)) for word in "abcde"]
    sent = {endpoint: len(body["input"]) for endpoint, body in stack.torchserve.calls}
    assert sent == {"clip_text": 3, "clip_image": 2}


def test_long_lists_are_split_and_fan_out(stack_of):
    stack = stack_of(fan_out_texts=4, fan_out_concurrency=3)
    stack.torchserve.delay_s = 0.02
    words = [f"word {n}" for n in range(30)]
    data = stack.post("/v1/embeddings", {"input": words, "encoding_format": "base64"}).json()["data"]
    assert [entry["embedding"] for entry in data] == [encode_vector(embed(word)) for word in words]
    assert [len(body["input"]) for _, body in stack.torchserve.calls] == [4] * 7 + [2]
    assert stack.torchserve.busiest == 3


def test_long_texts_count_as_several(stack_of):
    """Four of 64 KB fill a request, and two such requests are under way as for lists of many texts."""
    stack = stack_of(fan_out_concurrency=8)
    stack.torchserve.delay_s = 0.02
    stack.torchserve.load.busiest = 0
    texts = [f"{n}" + "x" * 65_000 for n in range(32)]
    assert stack.post("/v1/embeddings", {"input": texts}).status_code == 200
    assert stack.torchserve.busiest == 2


def test_large_inputs_are_split_by_bytes(stack_of):
    stack = stack_of(fan_out_bytes=1000)
    images = [{"image": picture_uri("x" * 600)} for _ in range(3)]
    assert stack.post("/v1/embeddings", {"input": images}).status_code == 200
    assert [len(body["input"]) for _, body in stack.torchserve.calls] == [1, 1, 1]


def test_long_texts_travel_in_small_requests(stack):
    """A neighbour's text gets in between them."""
    texts = [f"{n}" + "a" * 65_535 for n in range(10)]
    data = stack.post("/v1/embeddings", {"input": texts, "encoding_format": "base64"}).json()["data"]
    assert [entry["embedding"] for entry in data] == [encode_vector(embed(text)) for text in texts]
    sent = [sum(len(each["text"]) for each in body["input"]) for _, body in stack.torchserve.calls]
    assert len(sent) == 3
    assert max(sent) <= 256 * 1024


def test_multipart_image(stack):
    answer = stack.client.post("/v1/embeddings", files={"image": ("c.png", picture("cat"))})
    np.testing.assert_array_equal(np.float32(answer.json()["data"][0]["embedding"]), embed("cat"))


def test_truncate_reaches_the_handler_and_foreign_values_do_not(stack):
    stack.post("/v1/embeddings", {"input": "a", "truncate": "error"})
    stack.post("/v1/embeddings", {"input": "a", "truncate": True, "truncate_prompt_tokens": 5})
    assert [body.get("truncate") for _, body in stack.torchserve.calls] == ["error", None]


@pytest.mark.parametrize(
    ("body", "status", "code", "param"),
    [
        ({"input": ["a", "b", "c", " "]}, 400, "invalid_text", "input[3]"),
        ({"input": ["a", {"image": "data:image/png;base64,AAAA"}]}, 400, "invalid_image", "input[1]"),
        ({"input": " "}, 400, "invalid_text", "input"),
        ({"input": [[1, 2, 3]]}, 400, "invalid_text", "input[0]"),
        ({"input": [1, 2, 3]}, 400, "invalid_text", "input"),
        ({"input": []}, 400, "invalid_request", "input"),
        ({}, 400, "invalid_request", "input"),
        ({"input": {"text": "a", "image": "b"}}, 400, "invalid_request", "input"),
        ({"input": ["a"] * 2049}, 413, "request_too_large", "input"),
        ({"input": "a", "encoding_format": "hex"}, 400, "invalid_request", "encoding_format"),
        ({"input": "a", "modality": "audio"}, 400, "invalid_request", "modality"),
        ({"input": "a", "dimensions": DIM + 1}, 400, "bad_input", "dimensions"),
        ({"input": "a", "model": "text-embedding-3-small"}, 404, "model_not_found", "model"),
    ],
)
def test_bad_requests_name_the_place(stack, body, status, code, param):
    answer = stack.post("/v1/embeddings", body)
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert (error["code"], error["param"]) == (code, param)


def test_image_size_limit(stack_of):
    stack = stack_of(max_image_bytes=100)
    body = {"input": [picture_uri("x" * 200)], "modality": "image"}
    assert stack.post("/v1/embeddings", body).json()["error"]["code"] == "image_too_large"
    upload = stack.client.post("/v1/embeddings", files={"image": ("c.png", picture("x" * 200))})
    assert upload.status_code == 413
    assert stack.post("/v1/embeddings", {"input": [picture_uri("x" * 92)], "modality": "image"}).is_success


def test_model_swap_is_noticed(stack):
    assert stack.post("/v1/embeddings", {"input": "a", "model": "demo"}).is_success
    stack.torchserve.model = "vit"
    assert stack.post("/v1/embeddings", {"input": "a", "model": "demo"}).status_code == 404
    assert stack.post("/v1/embeddings", {"input": "a", "model": "vit"}).is_success


def test_endpoints_of_different_models_are_a_conflict(stack):
    stack.torchserve.fingerprints = {"clip_image": "other"}
    answer = stack.post("/v1/embeddings", {"input": ["a", {"image": picture_uri("b")}]})
    assert answer.status_code == 409


def test_large_bodies_reach_torchserve(stack):
    name = "x" * 3_000_000
    answer = stack.post("/v1/embeddings", {"input": [{"image": picture_uri(name)}]})
    np.testing.assert_array_equal(np.float32(answer.json()["data"][0]["embedding"]), embed(name))
