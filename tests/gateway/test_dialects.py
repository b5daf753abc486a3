"""The embedding calls of Cohere, Voyage, Jina and vLLM: each answers in its own form, over the same vectors."""

from __future__ import annotations

import base64

import numpy as np
import pytest

from clip_core.wire import decode_vector, encode_vector, unit
from tests.gateway.fakes import DIM, embed, picture_uri

CAT = picture_uri("cat")


def text(value):
    return {"type": "text", "text": value}


def mixture(*words):
    return unit(sum(embed(word) for word in words))


def test_cohere_texts(stack):
    body = {"model": "demo", "input_type": "search_query", "texts": ["a", "b"], "embedding_types": ["float", "base64"]}
    answer = stack.post("/v2/embed", body, headers={"X-Request-Id": "r7"})
    assert answer.status_code == 200, answer.text
    said = answer.json()
    assert (said["id"], said["texts"], said["response_type"]) == ("r7", ["a", "b"], "embeddings_by_type")
    np.testing.assert_array_equal(np.float32(said["embeddings"]["float"]), [embed("a"), embed("b")])
    assert said["embeddings"]["base64"] == [encode_vector(embed("a")), encode_vector(embed("b"))]
    assert said["meta"]["billed_units"] == {"input_tokens": 6}


def test_cohere_images_and_binary(stack):
    said = stack.post("/v2/embed", {"images": [CAT], "embedding_types": ["binary", "ubinary"]}).json()["embeddings"]
    bits = np.packbits(embed("cat") > 0)
    assert said["ubinary"] == [bits.tolist()]
    assert said["binary"] == [(bits.astype(int) - 128).tolist()]


def test_cohere_mixed_inputs(stack):
    inputs = [
        {"content": [text("dog"), {"type": "image_url", "image_url": {"url": CAT}}]},
        {"content": [text("elk")]},
        {"content": "fox"},
    ]
    said = stack.post("/v2/embed", {"inputs": inputs}).json()["embeddings"]["float"]
    np.testing.assert_allclose(said, [mixture("dog", "cat"), embed("elk"), embed("fox")], atol=1e-6)


def test_cohere_truncate(stack):
    for value, sent in (("NONE", "error"), ("END", "end"), (None, "end")):
        assert stack.post("/v2/embed", {"texts": ["a"], "truncate": value}).status_code == 200
        assert stack.torchserve.calls[-1][1]["truncate"] == sent


def test_voyage(stack):
    inputs = [
        {"content": [text("dog"), {"type": "image_base64", "image_base64": CAT}]},
        {"content": [{"type": "image_url", "image_url": CAT}]},
    ]
    answer = stack.post("/v1/multimodalembeddings", {"model": "demo", "inputs": inputs, "input_type": "query"})
    assert answer.status_code == 200, answer.text
    said = answer.json()
    assert said["object"] == "list"
    assert [entry["index"] for entry in said["data"]] == [0, 1]
    vectors = [entry["embedding"] for entry in said["data"]]
    np.testing.assert_allclose(vectors, [mixture("dog", "cat"), embed("cat")], atol=1e-6)
    assert set(said["usage"]) == {"text_tokens", "image_pixels", "video_pixels", "total_tokens"}


def test_voyage_base64_and_truncation(stack):
    body = {"inputs": [{"content": [text("a")]}], "output_encoding": "base64", "truncation": False}
    said = stack.post("/v1/multimodalembeddings", body).json()
    assert said["data"][0]["embedding"] == encode_vector(embed("a"))
    assert stack.torchserve.calls[-1][1]["truncate"] == "error"


def test_voyage_as_its_package_asks(stack):
    """Its keys are those of the request that it makes for `multimodal_embed`."""
    body = {"inputs": [{"content": [text("a")]}], "encoding_format": "base64", "output_dtype": None, "truncation": True}
    said = stack.post("/v1/multimodalembeddings", body).json()
    assert said["data"][0]["embedding"] == encode_vector(embed("a"))
    refused = stack.post("/v1/multimodalembeddings", {**body, "output_dtype": "int8"})
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "output_dtype")


@pytest.mark.parametrize("prefix", ["", "/v1"])
def test_infinity_under_both_prefixes(stack, prefix):
    body = {"input": ["a"], "model": "default/not-specified", "dimensions": 0, "modality": "text"}
    said = stack.post(f"{prefix}/embeddings", body).json()
    np.testing.assert_array_equal(np.float32(said["data"][0]["embedding"]), embed("a"))
    assert stack.client.get(f"{prefix}/health").json()["unix"] > 0
    assert stack.client.get(f"{prefix}/models").json()["data"][0]["id"] == "demo"


def test_vllm_messages(stack):
    content = [{"type": "image_url", "image_url": {"url": CAT}}, text("dog")]
    body = {"model": "demo", "messages": [{"role": "user", "content": content}], "encoding_format": "base64"}
    said = stack.post("/v1/embeddings", body).json()["data"]
    assert len(said) == 1
    np.testing.assert_allclose(decode_vector(said[0]["embedding"]), mixture("cat", "dog"), atol=1e-6)
    plain = stack.post("/v1/embeddings", {"messages": [{"role": "user", "content": "dog"}]}).json()["data"]
    np.testing.assert_array_equal(np.float32(plain[0]["embedding"]), embed("dog"))


def test_jina(stack):
    body = {"input": [{"text": "a"}, {"image": CAT}], "normalized": True, "embedding_type": "ubinary"}
    said = stack.post("/v1/embeddings", body).json()["data"]
    assert [entry["embedding"] for entry in said] == [np.packbits(embed(w) > 0).tolist() for w in ("a", "cat")]
    listed = stack.post("/v1/embeddings", {"input": "a", "embedding_type": ["base64"]}).json()["data"]
    assert base64.b64decode(listed[0]["embedding"]) == embed("a").tobytes()


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("/v1/embeddings", {"input": ["a", "b"]}, "dimensions"),
        ("/v2/embed", {"texts": ["a", "b"]}, "output_dimension"),
        ("/v1/multimodalembeddings", {"inputs": [{"content": "a"}, {"content": "b"}]}, "output_dimension"),
    ],
)
def test_shorter_vectors_only_where_the_model_says_so(stack, path, body, field):
    refused = stack.post(path, {**body, field: 8})
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, field)
    stack.torchserve.matryoshka_dimensions = (8, 4)
    said = stack.post(path, {**body, field: 8}).json()
    vectors = said["embeddings"]["float"] if "embeddings" in said else [entry["embedding"] for entry in said["data"]]
    np.testing.assert_allclose(vectors, [unit(embed(word)[:8]) for word in "ab"], atol=1e-6)
    assert stack.post(path, {**body, field: 5}).status_code == 400
    assert stack.post(path, {**body, field: DIM}).status_code == 200
    assert stack.client.get("/v1/models").json()["data"][0]["matryoshka_dimensions"] == [8, 4]


@pytest.mark.parametrize(
    ("path", "body", "status", "param"),
    [
        ("/v2/embed", {}, 400, None),
        ("/v2/embed", {"texts": ["a"], "images": [CAT]}, 400, "images"),
        ("/v2/embed", {"texts": "a"}, 400, "texts"),
        ("/v2/embed", {"texts": []}, 400, "texts"),
        ("/v2/embed", {"texts": ["a", 5]}, 400, "texts[1]"),
        ("/v2/embed", {"texts": ["a", " "]}, 400, "texts[1]"),
        ("/v2/embed", {"texts": ["a"] * 2049}, 413, "texts"),
        ("/v2/embed", {"images": [CAT, "http://x.org/a.png"]}, 400, "images[1]"),
        ("/v2/embed", {"images": [CAT, "AAAA"]}, 400, "images[1]"),
        ("/v2/embed", {"texts": ["a"], "embedding_types": ["int8"]}, 400, "embedding_types[0]"),
        ("/v2/embed", {"texts": ["a"], "embedding_types": []}, 400, "embedding_types"),
        ("/v2/embed", {"texts": ["a"], "truncate": "START"}, 400, "truncate"),
        ("/v2/embed", {"texts": ["a"], "model": "embed-v4.0"}, 404, "model"),
        ("/v2/embed", {"inputs": [{"content": [text("a"), {"type": "audio"}]}]}, 400, "inputs[0].content[1]"),
        ("/v1/multimodalembeddings", {}, 400, "inputs"),
        ("/v1/multimodalembeddings", {"inputs": ["a"]}, 400, "inputs[0]"),
        ("/v1/multimodalembeddings", {"inputs": [{"content": []}]}, 400, "inputs[0].content"),
        (
            "/v1/multimodalembeddings",
            {"inputs": [{"content": [text("a"), {"type": "image_url", "image_url": 5}]}]},
            400,
            "inputs[0].content[1].image_url",
        ),
        ("/v1/multimodalembeddings", {"inputs": [{"content": "a"}], "output_encoding": "hex"}, 400, "output_encoding"),
        ("/v1/embeddings", {"messages": []}, 400, "messages"),
        ("/v1/embeddings", {"messages": [{"role": "user"}]}, 400, "messages[0]"),
        ("/v1/embeddings", {"input": "a", "embedding_type": "int8"}, 400, "embedding_type"),
    ],
)
def test_bad_requests_name_the_place(stack, path, body, status, param):
    answer = stack.post(path, body)
    assert answer.status_code == status, answer.text
    assert set(answer.json()) == {"error"}
    assert answer.json()["error"]["param"] == param
