"""Decoding all vectors of an upsert at once, against decoding each by itself."""

from __future__ import annotations

import base64

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clip_core.errors import BadVector
from clip_core.wire import decode_vector, encode_vector
from index_service.vectors import as_unit, decode_units

FLOATS = st.floats(-4, 4, width=32)


@given(st.integers(1, 9), st.data())
def test_all_at_once_is_each_by_itself(dim: int, data: st.DataObject) -> None:
    rows = data.draw(st.lists(st.lists(FLOATS, min_size=dim, max_size=dim), min_size=1, max_size=5))
    texts = [encode_vector(np.array(row, np.float32)) for row in rows]
    found = decode_units(texts, dim)
    try:
        expected = np.stack([as_unit(decode_vector(text, dim)) for text in texts])
    except BadVector:
        assert found is None
    else:
        assert found is not None
        assert np.allclose(found, expected, rtol=0, atol=1e-7)
        again = decode_units([encode_vector(row) for row in expected], dim)
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
        assert decode_units([good, bad], dim) is None


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
    assert decode_units([good, value], 2) is None
    assert decode_units([], 2) is None
