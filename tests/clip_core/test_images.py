"""Decoding: the right pixels for every mode, and a clear error for everything else."""

from __future__ import annotations

import io
import zlib

import numpy as np
import pytest
from PIL import Image

from clip_core.errors import BadImage, ImageTooLarge
from clip_core.inputs.images import decode


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def gradient(width: int = 40, height: int = 24) -> Image.Image:
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    return Image.fromarray(np.stack([x * 6, y * 10, (x + y) * 3], -1).astype(np.uint8))


def pixels(image: Image.Image) -> np.ndarray:
    return np.asarray(image).astype(int)


def huge_png(width: int, height: int) -> bytes:
    """A well-formed PNG of a few hundred bytes that says it has `width`×`height` pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")

    header = width.to_bytes(4, "big") + height.to_bytes(4, "big") + b"\x08\x00\x00\x00\x00"
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    )


def test_rgb_is_untouched() -> None:
    assert (pixels(decode(encoded(gradient()))) == pixels(gradient())).all()


def test_rgba_drops_alpha_as_the_reference_does() -> None:
    image = gradient().convert("RGBA")
    image.putalpha(7)
    assert (pixels(decode(encoded(image))) == pixels(gradient())).all()


@pytest.mark.parametrize("mode", ["L", "LA", "P", "1", "CMYK", "YCbCr"])
def test_other_modes_become_what_pil_says(mode: str) -> None:
    image = gradient().convert(mode)
    kind = "JPEG" if mode in ("CMYK", "YCbCr") else "PNG"
    data = encoded(image, kind)
    decoded = decode(data)
    assert decoded.mode == "RGB"
    assert (pixels(decoded) == pixels(Image.open(io.BytesIO(data)).convert("RGB"))).all()


def test_cmyk_jpeg_has_the_right_colours() -> None:
    red = Image.new("RGB", (16, 16), (200, 30, 30)).convert("CMYK")
    assert np.abs(pixels(decode(encoded(red, "JPEG", quality=95))) - [200, 30, 30]).max() < 12


def test_16_bit_greys_are_scaled_not_clipped() -> None:
    greys = np.linspace(0, 65535, 64 * 4).reshape(4, 64).astype(np.uint16)
    decoded = pixels(decode(encoded(Image.fromarray(greys))))
    assert np.abs(decoded[..., 0] - greys / 257).max() <= 0.51


@pytest.mark.parametrize(
    ("orientation", "turn"),
    [(3, Image.Transpose.ROTATE_180), (6, Image.Transpose.ROTATE_270), (8, Image.Transpose.ROTATE_90)],
)
def test_exif_orientation_is_applied(orientation: int, turn: Image.Transpose) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    decoded = decode(encoded(gradient(), "JPEG", quality=95, exif=exif))
    expected = gradient().transpose(turn)
    assert decoded.size == expected.size
    assert np.abs(pixels(decoded) - pixels(expected)).mean() < 4


def test_an_animation_gives_its_first_frame() -> None:
    frames = [Image.new("RGB", (10, 8), colour) for colour in ("red", "blue", "green")]
    data = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert pixels(decode(data))[0, 0].tolist() == [255, 0, 0]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"x",
        b"not an image at all" * 100,
        encoded(gradient())[:60],
        encoded(gradient(200, 200), "JPEG")[:700],
        b"%!PS-Adobe-3.0",
    ],
)
def test_what_is_no_whole_image_is_refused(data: bytes) -> None:
    with pytest.raises(BadImage):
        decode(data)


@pytest.mark.parametrize("size", [(30_000, 30_000), (2**31 - 1, 1), (12_000, 12_000)])
def test_a_decompression_bomb_is_refused_undecoded(size: tuple[int, int]) -> None:
    with pytest.raises(ImageTooLarge, match="the limit is 64,000,000"):
        decode(huge_png(*size))


def test_the_limit_is_a_setting() -> None:
    decode(encoded(gradient(40, 24)), max_pixels=960)
    with pytest.raises(ImageTooLarge, match="40×24"):
        decode(encoded(gradient(40, 24)), max_pixels=959)
