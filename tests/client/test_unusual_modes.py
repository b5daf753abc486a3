"""Pictures that are scaled down before they are sent: in the modes that Pillow's own resizing spoils."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from clip_core.inputs.images import decode
from clipserve_client.answers.answers import Limits
from clipserve_client.inputs.pictures import picture_bytes
from clipserve_client.sources.files import Skip
from clipserve_client.sources.preparing import prepared

SMALL = Limits(max_image_pixels=1000)  # everything here is larger


def ramp(white: float, kind: str) -> np.ndarray[Any, Any]:
    """2400 × 1600, dark on the left and bright on the right."""
    return np.tile(np.linspace(0, white, 2400), (1600, 1)).astype(kind)


def written(image: Image.Image, kind: str = "TIFF", **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def big_endian() -> bytes:
    return written(Image.frombytes("I;16B", (2400, 1600), ramp(65535, ">u2").tobytes()))


def one_bit() -> Image.Image:
    """8192 × 400, every fourth column white: a quarter of the size is all grey."""
    return Image.fromarray(np.tile(np.arange(8192) % 4 == 0, (400, 1)))


def as_bytes(values: np.ndarray[Any, Any], kind: str = "TIFF") -> bytes:
    return written(Image.fromarray(values), kind)


def greys(content: bytes) -> np.ndarray[Any, Any]:
    return np.asarray(Image.open(io.BytesIO(content)).convert("L"), np.float32)


@pytest.mark.parametrize(
    "content",
    [as_bytes(ramp(65535, "u2"), "PNG"), big_endian(), as_bytes(ramp(4095, "i4")), as_bytes(ramp(1, "f4"))],
    ids=["16 bits", "big-endian", "12 of 32 bits", "floats"],
)
def test_deep_greys_are_scaled_down_as_the_gateway_sees_them(content: bytes) -> None:
    ready = prepared(content, SMALL, gps=False)
    assert ready.notes == ("scaled down",)
    ours, theirs = greys(ready.content), decode(content).resize((2048, 1365)).convert("L")
    assert np.abs(ours - np.asarray(theirs, np.float32)).max() < 4


def test_a_deep_grey_picture_is_upright() -> None:
    image = Image.fromarray(ramp(65535, "u2"))
    ready = prepared(written(image, tiffinfo={0x0112: 6}), SMALL, gps=False)
    assert Image.open(io.BytesIO(ready.content)).size == (1365, 2048)


def test_greys_of_no_usual_range_are_skipped_in_plain_words() -> None:
    with pytest.raises(Skip, match="unusual greys") as caught:
        prepared(as_bytes(ramp(1e9, "f4")), SMALL, gps=False)
    assert "from 0 to 1e+09" in caught.value.message
    with pytest.raises(Skip, match="unusual greys"):
        prepared(as_bytes(np.full((1600, 2400), np.nan, "f4")), SMALL, gps=False)


@pytest.mark.parametrize("mode", ["1", "P"])
def test_no_pixel_of_a_drawing_is_left_out(mode: str) -> None:
    ready = prepared(written(one_bit().convert(mode), "PNG"), SMALL, gps=False)
    assert np.abs(greys(ready.content) - 255 / 4).max() < 32


def test_alpha_is_dropped_as_the_gateway_drops_it() -> None:
    ready = prepared(written(Image.new("RGBA", (2400, 1600), (200, 100, 50, 0)), "PNG"), SMALL, gps=False)
    assert Image.open(io.BytesIO(ready.content)).getpixel((9, 9)) == pytest.approx((200, 100, 50), abs=3)


def test_damaged_exif_does_not_keep_a_large_photo_out() -> None:
    content = written(Image.new("RGB", (2400, 1600), "red"), "JPEG", exif=b"Exif\x00\x00II*\x00\xff\xff\xff\xff")
    assert prepared(content, SMALL, gps=False).notes == ("scaled down",)


@pytest.mark.parametrize("kind", ["u2", "i4", "f4"])
def test_pillows_own_pictures_are_sent_without_loss(kind: str) -> None:
    image = Image.fromarray(ramp(1 if kind == "f4" else 65535, kind))
    sent = decode(picture_bytes(image)).convert("L")
    assert np.abs(np.asarray(sent, np.float32) - ramp(255, "f4")).max() <= 1
