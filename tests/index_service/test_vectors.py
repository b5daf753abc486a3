"""Decoding all vectors of an upsert at once, against decoding each by itself."""

from __future__ import annotations

import base64

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clip_core.errors import BadVector
from clip_core.wire import decode_vector, encode_vector
from index_service.collection.vectors import MOST_NORM, as_kept, as_unit, decode_all

FLOATS = st.floats(-4, 4, width=32)


@given(st.integers(1, 9), st.data())
def test_all_at_once_is_each_by_itself(dim: int, data: st.DataObject) -> None:
    rows = data.draw(st.lists(st.lists(FLOATS, min_size=dim, max_size=dim), min_size=1, max_size=5))
    texts = [encode_vector(np.array(row, np.float32)) for row in rows]
    found = decode_all(texts, dim, "cosine")
    try:
        expected = np.stack([as_unit(decode_vector(text, dim)) for text in texts])
    except BadVector:
        assert found is None
    else:
        assert found is not None
        assert np.allclose(found, expected, rtol=0, atol=1e-7)
        again = decode_all([encode_vector(row) for row in expected], dim, "cosine")
        assert again is not None
        assert np.array_equal(again, expected)  # unit vectors come back bit for bit


@given(st.integers(1, 9), st.data())
def test_what_one_by_one_would_refuse_is_left_to_it(dim: int, data: st.DataObject) -> None:
    good = encode_vector(np.ones(dim, np.float32))
    place, character = data.draw(st.integers(0, len(good) - 1)), data.draw(st.characters())
    bad = good[:place] + character + good[place + 1 :]
    try:
        as_unit(decode_vector(bad, dim))
    except BadVector:
        assert decode_all([good, bad], dim, "cosine") is None


@given(st.lists(st.floats(-(2.0**58), 2.0**58, width=32), min_size=1, max_size=8))
def test_vectors_for_inner_products_stay_as_they_are_bit_for_bit(numbers: list[float]) -> None:
    vector = np.array(numbers, np.float32)
    found = decode_all([encode_vector(vector)] * 2, len(vector), "dot")
    assert found is not None
    assert found.tobytes() == 2 * vector.tobytes() == 2 * as_kept(vector, "dot").tobytes()


def test_zero_has_inner_products_but_no_cosine() -> None:
    zero = np.zeros(3, np.float32)
    assert not as_kept(zero, "dot").any()
    with pytest.raises(BadVector, match="no direction"):
        as_kept(zero, "cosine")


@pytest.mark.parametrize("vector", [[1.1e18], [9e17, 9e17], [3e38] * 4])
def test_a_norm_whose_products_float32_could_not_hold_is_refused(vector: list[float]) -> None:
    long = np.array(vector, np.float32)
    with pytest.raises(BadVector, match=r"over 1e\+18"):
        as_kept(long, "dot")
    assert decode_all([encode_vector(long)], len(long), "dot") is None
    longest = (long / np.linalg.norm(long.astype(np.float64)) * MOST_NORM * 0.999).astype(np.float32)
    assert np.isfinite(np.float32(longest @ longest))
    assert decode_all([encode_vector(longest)], len(long), "dot") is not None


def test_nan_among_vectors_for_inner_products_is_left_to_one_by_one() -> None:
    for number in (np.nan, np.inf):
        bad = encode_vector(np.array([1, number], np.float32))
        assert decode_all([encode_vector(np.ones(2, np.float32)), bad], 2, "dot") is None


@pytest.mark.parametrize(
    "value",
    [
        None,
        [1.0, 0.0],
        "",
        "AAAA",
        base64.b64encode(np.zeros(2, "<f4").tobytes()).decode(),
        base64.b64encode(np.array([np.nan, 1], "<f4").tobytes()).decode(),
        base64.b64encode(np.array([np.inf, 1], "<f4").tobytes()).decode(),
        base64.b64encode(np.array([0x7F8D0000, 0], "<u4").tobytes()).decode(),  # a signalling NaN
        base64.urlsafe_b64encode(b"\xff" * 8).decode(),
        base64.b64encode(np.ones(3, "<f4").tobytes()).decode(),
    ],
)
def test_other_forms_and_bad_vectors_are_left_to_one_by_one(value: object) -> None:
    good = encode_vector(np.ones(2, np.float32))
    assert decode_all([good, value], 2, "cosine") is None
    assert decode_all([], 2, "cosine") is None
