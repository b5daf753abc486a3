"""Greys of more than 8 bits: scaled by the range of their values, never black, in little memory."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from clip_core.errors import BadImage
from clip_core.inputs.deep_greys import to_8_bits
from clip_core.inputs.images import decode

GREYS = np.add.outer(np.arange(40), np.arange(60)).astype(np.float64) / 98  # 0..1, all of it


def tiff(values: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, "TIFF")
    return buffer.getvalue()


@pytest.mark.parametrize("white", [1, 15, 255, 4095, 65535])
@pytest.mark.parametrize("kind", [np.uint16, np.int32, np.float32])
def test_the_same_picture_in_any_range_is_the_same_picture(kind: type, white: int) -> None:
    values = (GREYS * white).astype(kind) if kind is np.float32 else np.rint(GREYS * white).astype(kind)
    got = np.asarray(decode(tiff(values)), float)[..., 0]
    assert np.abs(got - values.astype(float) / white * 255).max() <= 0.51


@pytest.mark.parametrize(("low", "high"), [(-1024, 3071), (-1, 1), (0, 70_000), (0, 2**31 - 1), (-(2**31), 0)])
@pytest.mark.parametrize("kind", [np.int32, np.float32])
def test_values_of_no_usual_range_are_refused_and_named(kind: type, low: int, high: int) -> None:
    values = (GREYS * (high - low) + low).clip(low, high).astype(kind)
    with pytest.raises(BadImage, match=r"grey values go from .* scale them"):
        decode(tiff(values))


def test_what_resampling_leaves_outside_the_range_of_floats_is_clipped() -> None:
    got = np.asarray(decode(tiff((GREYS * 1.06 - 0.02).astype(np.float32))))
    assert (got.min(), got.max()) == (0, 255)


@given(st.lists(st.integers(0, 65535), min_size=1, max_size=40))
def test_the_brightest_pixel_is_never_nearly_black(values: list[int]) -> None:
    image = Image.fromarray(np.array([values], np.uint16))
    scaled = np.asarray(to_8_bits(image))
    assert (scaled.max() >= 16) == (max(values) > 0)
    assert (np.argsort(values, kind="stable") == np.argsort(scaled[0], kind="stable")).all() or max(values) > 255


def test_a_picture_larger_than_a_block_is_scaled_as_one() -> None:
    values = np.zeros((1200, 700), np.uint16)
    values[-1, -1], values[0] = 65535, 4095
    got = np.asarray(to_8_bits(Image.fromarray(values)))
    assert (got[0, 0], got[5, 5], got[-1, -1]) == (16, 0, 255)


@pytest.mark.parametrize("missing", [np.nan, np.inf, -np.inf])
def test_pixels_without_data_are_black(missing: float) -> None:
    values = np.array([[0.5, missing], [1.0, 0.0]], np.float32)
    assert np.asarray(to_8_bits(Image.fromarray(values))).tolist() == [[128, 0], [255, 0]]
