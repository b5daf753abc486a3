from __future__ import annotations

import base64
import inspect
import math
import struct
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from clip_core.errors import BadFilter, BadInput, BadVector
from clip_core.wire import (
    MAX_FILTER_BYTES,
    MAX_FILTER_LEVELS,
    MAX_K,
    SearchPart,
    decode_vector,
    encode_vector,
    parse_k,
    unit,
)

finite = st.floats(width=32, allow_nan=False, allow_infinity=False)


@given(hnp.arrays(np.float32, st.integers(1, 600), elements=finite))
def test_base64_round_trip_is_exact(vector: np.ndarray) -> None:
    assert decode_vector(encode_vector(vector), vector.size).tobytes() == vector.tobytes()


def test_the_encoding_is_little_endian_float32() -> None:
    assert encode_vector(np.array([1.0, -2.5], np.float32)) == base64.b64encode(struct.pack("<2f", 1.0, -2.5)).decode()


@given(st.lists(finite, min_size=1, max_size=50))
def test_a_list_of_numbers_decodes(values: list[float]) -> None:
    assert decode_vector(values).tolist() == values


@pytest.mark.parametrize(
    "value",
    [
        *([], "", "%%%", "AAAA" * 3 + "AA==", None, {}, 3, ["a"], [True], [[1.0]], [math.nan], [math.inf], [10**400]),
        encode_vector(np.array([math.nan], np.float32)),
        [1e39],
    ],
)
def test_what_is_no_vector_is_refused(value: object) -> None:
    with pytest.raises(BadVector):
        decode_vector(value)


def test_a_wrong_length_is_named() -> None:
    with pytest.raises(BadVector, match="3 dimensions, expected 4"):
        decode_vector([1.0, 2.0, 3.0], 4)


@given(hnp.arrays(np.float32, (3, 8), elements=st.floats(-(2.0**99), 2.0**99, width=32)))
def test_unit_norm_or_an_error(vectors: np.ndarray) -> None:
    norms = np.linalg.norm(vectors.astype(np.float64), axis=1)
    if (norms < 1e-30).any():
        with pytest.raises(BadVector):
            unit(vectors)
    else:
        assert np.allclose(np.linalg.norm(unit(vectors), axis=1), 1, atol=1e-6)


@pytest.mark.parametrize("k", [0, -1, MAX_K + 1, 1_000_000, 1.0, "3", True, None])
def test_k_out_of_range(k: object) -> None:
    with pytest.raises(BadInput, match="1 to 10000"):
        parse_k(k)


@pytest.mark.parametrize("exact", [True, "certified"])
def test_search_part_round_trip(exact: object) -> None:
    body = {"collection": "demo", "k": 3, "filter": {"a": 1}, "include": ["vector"], "exact": exact}
    assert SearchPart.parse(body).to_dict() == body


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (3, "search"),
        ({}, "collection"),
        ({"collection": ""}, "collection"),
        ({"collection": "c", "filter": []}, "filter"),
        ({"collection": "c", "include": ["all"]}, "include"),
        ({"collection": "c", "exact": "yes"}, "exact"),
    ],
)
def test_a_bad_search_part_names_the_field(body: object, param: str) -> None:
    with pytest.raises(BadInput) as caught:
        SearchPart.parse(body)
    assert caught.value.param == param


def nested(levels: int, kind: str) -> dict[str, Any]:
    """A filter of so many objects and lists inside one another, or one less."""
    filter_: Any = {"a": 1}
    for level in range(levels - 1):
        filter_ = [filter_] if kind == "$and" and level % 2 == 0 else {kind: filter_}
    return filter_ if isinstance(filter_, dict) else filter_[0]


@pytest.mark.parametrize("kind", ["$and", "$not", "a"])
@pytest.mark.parametrize("levels", [MAX_FILTER_LEVELS + 2, 200, 100_000])
def test_a_filter_that_is_nested_too_deep_is_refused(kind: str, levels: int) -> None:
    filter_ = nested(levels, kind)
    with pytest.raises(BadFilter, match="nested too deep") as caught:
        SearchPart.parse({"collection": "c", "filter": filter_})
    assert caught.value.param == "filter"


def test_a_filter_that_is_too_large_is_refused_before_its_values_are_looked_at() -> None:
    filter_ = {"a": {"$in": ["x" * MAX_FILTER_BYTES]}, "b": nested(MAX_FILTER_LEVELS + 2, "a")}
    with pytest.raises(BadFilter, match="bytes of JSON"):
        SearchPart.parse({"collection": "c", "filter": filter_})


@pytest.mark.parametrize("kind", ["$and", "$not", "a"])
def test_the_deepest_filter_is_written_with_little_stack_left(kind: str) -> None:
    part = SearchPart.parse({"collection": "c", "filter": nested(MAX_FILTER_LEVELS, kind)})
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(len(inspect.stack()) + 15)
    try:
        written = part.to_dict()
    finally:
        sys.setrecursionlimit(limit)
    assert SearchPart.parse(written) == part
