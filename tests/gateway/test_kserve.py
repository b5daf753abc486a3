"""The Open Inference Protocol over HTTP: JSON and binary tensors, health, metadata, errors as KServe words them."""

from __future__ import annotations

import base64
import contextlib
from typing import Any

import httpx
import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clip_core.errors import InvalidRequest
from clip_core.wire import unit
from gateway.inputs.parser import InputParser
from gateway.kserve.sources import sources_of
from gateway.kserve.tensors import from_json, from_raw, packed, unpacked
from gateway.middleware.load_shedding import is_text
from tests.gateway.fakes import DIM, embed, picture, picture_uri

INFER = "/v2/models/demo/infer"


def texts(*words: str) -> dict[str, Any]:
    return {"name": "TEXT", "datatype": "BYTES", "shape": [len(words)], "data": list(words)}


def binary(name: str, *elements: bytes, datatype: str = "BYTES", shape: list[int] | None = None) -> tuple[Any, bytes]:
    raw = packed(elements) if datatype == "BYTES" else b"".join(elements)
    size = {"binary_data_size": len(raw)}
    return {"name": name, "datatype": datatype, "shape": shape or [len(elements)], "parameters": size}, raw


def post_binary(stack, *tensors: tuple[Any, bytes], path: str = INFER, **fields: Any) -> httpx.Response:
    head = orjson.dumps({"inputs": [tensor for tensor, _ in tensors], **fields})
    headers = {"Inference-Header-Content-Length": str(len(head)), "Content-Type": "application/octet-stream"}
    return stack.client.post(path, content=head + b"".join(raw for _, raw in tensors), headers=headers)


def embedding(answer: httpx.Response) -> np.ndarray:
    """(n, dim) float32, whichever form it came in."""
    assert answer.status_code == 200, answer.text
    length = int(answer.headers.get("inference-header-content-length", len(answer.content)))
    (output,) = orjson.loads(answer.content[:length])["outputs"]
    assert (output["name"], output["datatype"]) == ("EMBEDDING", "FP32")
    if "data" in output:
        return np.float32(output["data"]).reshape(output["shape"])
    raw = answer.content[length:]
    assert output["parameters"] == {"binary_data_size": len(raw)}
    return np.frombuffer(raw, "<f4").reshape(output["shape"])


def test_texts_in_json(stack):
    answer = stack.post(INFER, {"id": "7", "inputs": [texts("a", "b")]})
    np.testing.assert_array_equal(embedding(answer), [embed("a"), embed("b")])
    said = answer.json()
    assert (said["id"], said["model_name"], said["model_version"]) == ("7", "demo", "1")


def test_nested_data_and_columns(stack):
    column = {**texts("a", "b"), "shape": [2, 1], "data": [["a"], ["b"]]}
    np.testing.assert_array_equal(embedding(stack.post(INFER, {"inputs": [column]})), [embed("a"), embed("b")])


def test_binary_texts_and_binary_vectors(stack):
    outputs = [{"name": "EMBEDDING", "parameters": {"binary_data": True}}]
    answer = post_binary(stack, binary("TEXT", "ä".encode(), b"b"), outputs=outputs)
    assert answer.headers["content-type"] == "application/octet-stream"
    np.testing.assert_array_equal(embedding(answer), [embed("ä"), embed("b")])


@pytest.mark.parametrize(
    "element",
    [picture("cat"), picture_uri("cat").encode(), base64.b64encode(picture("cat"))],
    ids=["file", "url", "b64"],
)
def test_pictures_as_bytes(stack, element):
    np.testing.assert_array_equal(embedding(post_binary(stack, binary("IMAGE", element))), [embed("cat")])


def test_pictures_in_json(stack):
    image = {"name": "IMAGE", "datatype": "BYTES", "shape": [1], "data": [picture_uri("cat")]}
    np.testing.assert_array_equal(embedding(stack.post(INFER, {"inputs": [image]})), [embed("cat")])


def test_a_file_as_uint8(stack):
    file = picture("cat")
    one = post_binary(stack, binary("IMAGE", file, datatype="UINT8", shape=[len(file)]))
    two = post_binary(stack, binary("IMAGE", file, file, datatype="UINT8", shape=[2, len(file)]))
    np.testing.assert_array_equal(embedding(one), [embed("cat")])
    np.testing.assert_array_equal(embedding(two), [embed("cat")] * 2)


def test_pixels_become_plain_pictures():
    """TorchServe's workers read PPM and PGM, in which pixels are what they are."""
    parser = InputParser(10**6)
    colours, greys = bytes(range(2 * 3 * 4 * 3)), bytes(range(12))
    sources = sources_of([from_raw("IMAGE", "UINT8", [2, 3, 4, 3], colours)], parser)
    assert [base64.b64decode(source.value)[:11] for source in sources] == [b"P6\n4 3\n255\n"] * 2
    assert b"".join(base64.b64decode(source.value)[11:] for source in sources) == colours
    (grey,) = sources_of([from_raw("IMAGE", "UINT8", [3, 4, 1], greys)], parser)
    assert base64.b64decode(grey.value) == b"P5\n4 3\n255\n" + greys


def test_pairs_become_one_vector(stack):
    answer = post_binary(stack, binary("TEXT", b"dog"), binary("IMAGE", picture("cat")))
    np.testing.assert_allclose(embedding(answer), [unit(embed("dog") + embed("cat"))], atol=1e-6)
    assert stack.torchserve.calls[0][0] == "clip_multimodal"


def test_many_texts_in_json_and_in_bytes(stack):
    words = [f"text {n}" for n in range(2048)]
    wanted = [embed(word) for word in words]
    np.testing.assert_allclose(embedding(stack.post(INFER, {"inputs": [texts(*words)]})), wanted, atol=1e-6)
    answer = post_binary(stack, binary("TEXT", *map(str.encode, words)), parameters={"binary_data_output": True})
    np.testing.assert_array_equal(embedding(answer), wanted)
    refused = stack.post(INFER, {"inputs": [texts(*words, "one more")]})
    assert (refused.status_code, refused.json()) == (413, {"error": "inputs: 2049 inputs in one call; at most 2048"})


def test_health_and_metadata(stack):
    get = stack.client.get
    assert get("/v2/health/live").json() == {"live": True}
    assert get("/v2/health/ready").json() == {"ready": True}
    assert get("/v2").json() == {"name": "clipserve", "version": "0.1.0", "extensions": ["binary_tensor_data"]}
    for path in ("/v2/models/demo", "/v2/models/demo/versions/1"):
        assert get(f"{path}/ready").json() == {"name": "demo", "ready": True}
        said = get(path).json()
        assert [tensor["name"] for tensor in said["inputs"]] == ["TEXT", "IMAGE"]
        assert said["outputs"] == [{"name": "EMBEDDING", "datatype": "FP32", "shape": [-1, DIM]}]
        np.testing.assert_array_equal(embedding(stack.post(f"{path}/infer", {"inputs": [texts("a")]})), [embed("a")])


def test_what_is_not_ready_is_told(stack):
    stack.index.down = True
    answer = stack.client.get("/v2/health/ready")
    assert answer.status_code == 503
    assert set(answer.json()) == {"error"}
    assert "index" in answer.json()["error"]
    assert stack.client.get("/v2/models/demo/ready").status_code == 503
    assert stack.client.head("/v2/health/ready").status_code == 503


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [
        ("/v2/models/other", 404, "model: the model 'other' is not served; 'demo' is"),
        ("/v2/models/other/ready", 404, "model: the model 'other' is not served; 'demo' is"),
        ("/v2/models/demo/versions/2", 404, "version: the model 'demo' has no version '2'; its only one is '1'"),
        ("/v2/nothing", 404, "there is nothing at /v2/nothing; see /docs for what there is"),
        ("/v2/models/demo/infer", 405, "GET is not possible on /v2/models/demo/infer"),
    ],
)
def test_errors_are_worded_as_by_kserve(stack, path, status, words):
    answer = stack.client.get(path)
    assert (answer.status_code, answer.json()) == (status, {"error": words})


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({}, "inputs: "),
        ({"inputs": []}, "inputs: "),
        ({"inputs": [texts("a", " ")]}, "TEXT[1]: the text is empty"),
        ({"inputs": [{**texts("a"), "shape": [2]}]}, "TEXT: an input of shape [2] does not have 1 elements"),
        ({"inputs": [{**texts("a"), "shape": []}]}, "TEXT: an input of shape []"),
        ({"inputs": [{**texts("a", "b"), "shape": [-1, -2]}]}, "TEXT: an input of shape [-1, -2]"),
        ({"inputs": [{**texts("a"), "data": [5]}]}, "TEXT: the data of BYTES in JSON are strings"),
        ({"inputs": [{**texts("a"), "datatype": "FP32"}]}, "TEXT: an input's datatype is BYTES or UINT8, not 'FP32'"),
        ({"inputs": [{**texts("a"), "name": "INPUT0"}]}, "INPUT0: the inputs are TEXT, IMAGE"),
        ({"inputs": [texts("a"), texts("b")]}, "TEXT: the inputs are TEXT, IMAGE"),
        ({"inputs": [{"name": "TEXT", "datatype": "BYTES", "shape": [1]}]}, "TEXT: an input has either `data`"),
        (
            {"inputs": [{"name": "IMAGE", "datatype": "UINT8", "shape": [1, 2, 2], "data": [[[1, 2], [3, 4]]]}]},
            "IMAGE: UINT8 pictures have the shape",
        ),
        ({"inputs": [{"name": "IMAGE", "datatype": "UINT8", "shape": [1], "data": [256]}]}, "IMAGE: the data of UINT8"),
        ({"inputs": [{"name": "IMAGE", "datatype": "BYTES", "shape": [1], "data": ["AAAA"]}]}, "IMAGE[0]: "),
        ({"inputs": [texts("a")], "outputs": [{"name": "LOGITS"}]}, "outputs: the only output is EMBEDDING"),
        (
            {"inputs": [texts("a")], "outputs": [{"name": "EMBEDDING", "parameters": {"classification": 3}}]},
            "outputs: `classification` is not possible",
        ),
        (
            {"inputs": [{**texts("a"), "parameters": {"shared_memory_region": "r"}}]},
            "TEXT: shared memory is not read",
        ),
        ({"inputs": [texts("a")], "parameters": {"dimensions": 5}}, "dimensions: "),
    ],
)
def test_bad_requests_name_the_place(stack, body, words):
    answer = stack.post(INFER, body)
    assert answer.status_code == 400
    assert set(answer.json()) == {"error"}
    assert answer.json()["error"].startswith(words)


def test_bad_bytes_name_the_place(stack):
    text, raw = binary("TEXT", b"a")
    cut = {**text, "parameters": {"binary_data_size": len(raw) - 1}}
    for tensor, content, words in [
        (cut, raw[:-1], "TEXT: raw BYTES have four bytes"),
        (text, raw + b"x", "inputs: the inputs' `binary_data_size` are 5 bytes together, but 6 came"),
        (text, raw[:-1], "TEXT: raw BYTES have four bytes"),
        ({**text, "parameters": {"binary_data_size": -5}}, raw, "TEXT: an input has either `data`"),
        (*binary("TEXT", b"\xff"), "TEXT[0]: this text is not in UTF-8"),
        (*binary("IMAGE", b"\xffno picture"), "IMAGE[0]: "),
    ]:
        answer = post_binary(stack, (tensor, content))
        assert answer.status_code == 400
        assert answer.json()["error"].startswith(words)


@pytest.mark.parametrize("length", ["x", "-1", "999999", "٣", ""])
def test_a_wrong_length_of_the_json(stack, length):
    headers = {"Inference-Header-Content-Length": length.encode()}
    answer = stack.client.post(INFER, content=orjson.dumps({"inputs": [texts("a")]}), headers=headers)
    assert answer.status_code == 400
    assert answer.json()["error"].startswith("Inference-Header-Content-Length: ")


def test_keys_and_scopes(stack_of):
    stack = stack_of(api_keys="secret")
    for path in ("/v2/health/live", "/v2/health/ready"):
        assert stack.client.get(path).status_code == 200
    for path in ("/v2", "/v2/models/demo", "/v2/models/demo/ready"):
        answer = stack.client.get(path)
        assert (answer.status_code, set(answer.json())) == (401, {"error"})
        assert stack.client.get(path, headers={"Authorization": "Bearer secret"}).status_code == 200
    body = {"inputs": [texts("a")]}
    assert stack.post(INFER, body).status_code == 401
    assert stack.post(INFER, body, headers={"Authorization": "Bearer secret"}).status_code == 200


def test_other_dialects_below_v2_keep_their_errors(stack):
    assert stack.post("/v2/embed", {}).json()["error"]["code"] == "invalid_request"


def test_a_picture_is_no_text_while_texts_are_turned_away():
    assert is_text(b'{"inputs": [{"name": "TEXT"}]}')
    assert not is_text(b'{"inputs": [{"name": "IMAGE"}]}')


@given(st.lists(st.binary(max_size=40)))
def test_bytes_there_and_back(elements):
    assert unpacked(packed(elements), "TEXT") == elements


@given(st.binary(max_size=60))
def test_any_bytes_are_elements_or_refused(raw):
    with contextlib.suppress(InvalidRequest):
        assert packed(unpacked(raw, "TEXT")) == raw


def test_deep_json_is_no_deep_call():
    data: Any = ["a"]
    for _ in range(5000):
        data = [data]
    assert from_json("TEXT", "BYTES", [1], data).elements == ["a"]
