"""Every form of body that TorchServe hands over."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from clip_core.errors import BadInput, BadJson, BadText, ClipServeError, TooLarge
from clip_core.inputs.parsing import parse_row
from clip_core.inputs.request import Accepts, Item, Part, Request
from clip_core.wire import SearchPart, encode_vector

TEXT = Accepts(frozenset({"text", "vector"}), "text", 8)
IMAGE = Accepts(frozenset({"image", "vector"}), "image", 8)
BOTH = Accepts(frozenset({"text", "image", "vector"}), "text", 8)
PNG = b"\x89PNG\r\n\x1a\n\x00\x01"


def as_json(body: Any, accepts: Accepts = TEXT, **row: Any) -> Request:
    return parse_row({"body": json.dumps(body).encode(), **row}, "application/json", accepts)


def only(request: Request) -> Part:
    (item,) = request.items
    assert isinstance(item, Item)
    (part,) = item.parts
    return part


@pytest.mark.parametrize("content_type", ["text/plain", "text/plain; charset=utf-8", None, "application/octet-stream"])
@pytest.mark.parametrize("key", ["body", "data", "anything"])
def test_raw_text(content_type: str | None, key: str) -> None:
    request = parse_row({key: "un café".encode()}, content_type, TEXT)
    assert only(request) == Part("text", "un café")
    assert request.single


@pytest.mark.parametrize("content_type", ["image/png", "application/octet-stream", None])
def test_raw_image(content_type: str | None) -> None:
    assert only(parse_row({"body": PNG}, content_type, IMAGE)) == Part("image", PNG)


def test_the_multimodal_endpoint_tells_raw_bytes_from_text() -> None:
    assert only(parse_row({"data": PNG}, None, BOTH)).kind == "image"
    assert only(parse_row({"data": b"a dog"}, None, BOTH)).kind == "text"


def test_an_image_endpoint_takes_bytes_that_happen_to_be_text() -> None:
    assert only(parse_row({"body": b"not an image"}, "application/octet-stream", IMAGE)).kind == "image"


def test_json_without_a_content_type_is_json() -> None:
    assert only(parse_row({"data": b' {"input": "a dog"}'}, None, TEXT)) == Part("text", "a dog")


def test_what_torchserve_has_parsed_is_taken_as_it_is() -> None:
    assert only(parse_row({"body": {"input": "a dog"}}, "application/json", TEXT)).value == "a dog"
    assert only(parse_row({"body": "a dog"}, "text/plain", TEXT)).value == "a dog"


def test_a_list_keeps_its_order_and_its_bad_items() -> None:
    request = as_json({"input": ["a", 3, {"text": "b"}, {"image": "x"}, {"text": "a", "vector": [1]}, None]})
    kinds = [type(item).__name__ for item in request.items]
    assert kinds == ["Item", "BadInput", "Item", "BadInput", "BadInput", "BadInput"]
    assert not request.single


def test_options_ride_beside_raw_bodies() -> None:
    request = parse_row({"data": PNG, "search": b'{"collection": "demo", "k": 3}', "truncate": b"error"}, None, IMAGE)
    assert request.search == SearchPart("demo", 3)
    assert not request.cut_long_texts


def test_a_weighted_query() -> None:
    vector = np.ones(4, np.float32)
    body = {"input": {"query": [{"text": "a", "weight": 2}, {"vector": encode_vector(vector), "weight": -0.5}]}}
    (item,) = as_json(body, BOTH).items
    assert isinstance(item, Item)
    assert [(part.kind, part.weight) for part in item.parts] == [("text", 2.0), ("vector", -0.5)]


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"", BadInput),
        (b'{"input":', BadJson),
        (b"[1]", BadJson),
        (b"{}", BadInput),
        (b'{"input": []}', BadInput),
        (b'{"input": "a", "encoding_format": "int8"}', BadInput),
        (b'{"input": "a", "truncate": "middle"}', BadInput),
        (b'{"input": "a", "search": {"collection": "c", "k": 0}}', BadInput),
        (b'{"input": "a", "search": {"collection": "c", "k": 1000000}}', BadInput),
        (json.dumps({"input": ["a"] * 9}).encode(), TooLarge),
    ],
)
def test_a_bad_request(body: bytes, error: type[ClipServeError]) -> None:
    with pytest.raises(error):
        parse_row({"body": body}, "application/json", TEXT)


def test_text_that_is_not_utf8() -> None:
    with pytest.raises(BadText):
        parse_row({"body": b"\xff\xfe"}, "text/plain", TEXT)


@pytest.mark.parametrize(
    "tensor",
    [
        3,
        {},
        {"name": "text", "datatype": "FP32", "shape": [1], "data": [1]},
        {"name": "text", "datatype": "BYTES", "shape": [3], "data": ["a"]},
    ],
)
def test_a_bad_v2_tensor(tensor: object) -> None:
    with pytest.raises(BadInput):
        as_json({"inputs": [tensor]})


@pytest.mark.parametrize("kind", [bytes, bytearray])
def test_a_body_may_be_a_bytearray_as_torchserve_gives_it(kind: type) -> None:
    part = only(parse_row({"body": kind(PNG)}, "image/png", IMAGE))
    assert (type(part.value), part.value) == (bytes, PNG)
    assert only(parse_row({"body": kind(b'{"input": "a dog"}')}, "application/json", TEXT)).value == "a dog"
    assert only(parse_row({"body": kind(b"a dog")}, None, TEXT)).value == "a dog"
