"""JSON comes back as it was, or is refused."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clip_core.errors import BadFilter, BadInput, BadJson
from clip_core.wire import SearchPart, json_text, load_json

NUMBERS = st.integers() | st.integers(-(2**66), 2**66) | st.floats() | st.sampled_from([2**53 + 1, 2**63, 2**64 - 1])
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)


def same(a: object, b: object) -> bool:
    """Equal with their types: 1 is not 1.0, and 0.0 is not -0.0."""
    return repr(a) == repr(b)


@given(st.dictionaries(st.text(), VALUES, max_size=4))
def test_a_value_comes_back_equal_or_is_refused(value: dict[str, Any]) -> None:
    try:
        read = load_json(json.dumps(value))
        text = json_text(read, "metadata")
    except BadInput:
        return
    assert same(read, value)
    assert same(load_json(text), value)


@given(st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False))
def test_every_number_of_64_bits_is_kept(number: float) -> None:
    assert same(load_json(json_text({"n": load_json(json.dumps(number))}, "metadata"))["n"], number)


@pytest.mark.parametrize("number", ["18446744073709551616", "-9223372036854775809", "1e400", "-1e999", "9" * 400])
@pytest.mark.parametrize("shape", ['{"a":%s}', '{"a":[1,[%s]]}', '{"a":{"b":{"$in":["x",%s]}}}', '{"a":null,"b":%s}'])
def test_a_number_that_would_change_is_refused(shape: str, number: str) -> None:
    value = load_json(shape % number)
    with pytest.raises(BadInput, match="send it as a string"):
        json_text(value, "metadata")
    with pytest.raises(BadFilter, match="`filter` holds") as caught:
        SearchPart.parse({"collection": "c", "filter": value})
    assert caught.value.param == "filter"


@pytest.mark.parametrize("text", ["NaN", "Infinity", '"\\ud800"', '"\\udc00x"', "[1,]", "01", "", "[" * 999])
def test_what_is_not_json_is_refused(text: str) -> None:
    with pytest.raises(BadJson):
        load_json(f'{{"a":{text}}}')


def test_nesting_that_cannot_be_written_is_refused() -> None:
    value: Any = 1
    for _ in range(300):
        value = [value]
    with pytest.raises(BadInput, match="nested"):
        json_text(value, "metadata")


def test_what_python_says_of_a_float_is_said_of_all() -> None:
    with pytest.raises(BadInput):
        json_text({"a": None, "b": math.nan}, "metadata")
