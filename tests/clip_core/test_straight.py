"""Requests sent straight to TorchServe: what is wrong with them is said, and said of the right place."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest

from clip_core.encode.encoded import Encoded
from clip_core.encode.encoders import _combine
from clip_core.errors import BadInput, BadJson, BadText, ClipServeError, InvalidRequest, UnsupportedMediaType
from clip_core.inputs.parsing import parse_row
from clip_core.inputs.request import Accepts, Item, Part, Request
from clip_core.model_spec import ModelSpec
from clip_core.serving.answers import InputResult, render

TEXT = Accepts(frozenset({"text", "vector"}), "text")
SPEC = ModelSpec("demo", "text", 2, 16, "f" * 16, "fp32", False)
GOOD = Encoded(np.array([1, 0], np.float32))


def parsed(body: Any, content_type: str | None = "application/json") -> Request:
    request = parse_row({"body": body}, content_type, TEXT)
    assert isinstance(request, Request)
    return request


@pytest.mark.parametrize("body", ["a", b'"a"', None, b"null", 1_000_000_000_000, True, 1.5, b"7"])
def test_a_body_that_is_no_object(body: Any) -> None:
    with pytest.raises(BadJson, match="the body is a JSON object"):
        parsed(body)


@pytest.mark.parametrize(
    "kind", ["application/x-www-form-urlencoded", "multipart/form-data", "Multipart/Form-Data; a=b"]
)
def test_forms_that_torchserve_did_not_read(kind: str) -> None:
    with pytest.raises(UnsupportedMediaType):
        parsed(b"input=a+red+circle", kind)


def test_json_sent_by_curl_without_a_type() -> None:
    assert parsed(b'{"input": "a"}', "application/x-www-form-urlencoded").single


def test_unknown_fields_of_a_search_are_refused() -> None:
    with pytest.raises(InvalidRequest) as caught:
        parsed({"input": "a", "search": {"collection": "c", "limit": 3}})
    assert caught.value.param == "search.limit"


@pytest.mark.parametrize("weight", [math.nan, math.inf, 0, 10**400, "1", True, None])
def test_a_weight_that_is_none_says_what_one_is(weight: Any) -> None:
    item = parsed({"input": {"query": [{"text": "a", "weight": weight}]}}).items[0]
    assert isinstance(item, BadInput)
    assert "finite" in item.message


@pytest.mark.parametrize("scale", [1e-200, 5e-324, 1.0, 1e308])
def test_only_the_ratio_of_weights_counts(scale: float) -> None:
    item = parsed({"input": {"query": [{"text": "a", "weight": scale}, {"text": "b", "weight": scale}]}}).items[0]
    assert isinstance(item, Item)
    mixed = _combine(item, [GOOD, Encoded(np.array([0, 1], np.float32))])
    assert isinstance(mixed, Encoded)
    assert np.allclose(mixed.vector, math.sqrt(0.5))


def v2(data: list[Any]) -> Request:
    return parsed({"inputs": [{"name": "text", "shape": [len(data)], "datatype": "BYTES", "data": data}]})


@pytest.mark.parametrize("bad", [["a"], {"text": "a"}, 1, None])
def test_a_bad_element_is_named(bad: Any) -> None:
    request = v2(["a", bad, "c"])
    results = [item if isinstance(item, ClipServeError) else InputResult(GOOD) for item in request.items]
    answer = render(request, results, SPEC, {})
    assert (answer.status, json.loads(answer.body)["error"]["param"]) == (400, "text[1]")


@pytest.mark.parametrize(("error", "param"), [(BadText("empty"), "text[1]"), (BadInput("no", param="k"), "k")])
def test_errors_of_encoding_and_of_searching(error: ClipServeError, param: str) -> None:
    answer = render(v2(["a", "b"]), [InputResult(GOOD), error], SPEC, {})
    assert json.loads(answer.body)["error"]["param"] == param


def test_the_part_that_a_message_is_about() -> None:
    assert parsed({"input": {"query": [{"text": "a", "weight": -2}]}}).items[0] == Item((Part("text", "a", -2.0),))
