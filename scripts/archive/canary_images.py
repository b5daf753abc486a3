"""The pictures that every image archive checks itself with: drawn by formula, never square, alike on every machine."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image


def canary_images() -> list[tuple[bytes, Image.Image]]:
    """PNG bytes, and the RGB image that they hold."""
    return [(_png(image), image) for image in (_gradient(240, 160), _checks(150, 230), _waves(320, 120))]


def _grid(width: int, height: int) -> tuple[np.ndarray, np.ndarray]:
    return np.meshgrid(np.arange(width), np.arange(height))


def _gradient(width: int, height: int) -> Image.Image:
    x, y = _grid(width, height)
    return _image(x * 255 // (width - 1), y * 255 // (height - 1), (x + y) % 256)


def _checks(width: int, height: int) -> Image.Image:
    x, y = _grid(width, height)
    dark = (x // 16 + y // 16) % 2
    return _image(230 - 180 * dark, 40 + 90 * dark, 60 + 160 * dark)


def _waves(width: int, height: int) -> Image.Image:
    x, y = _grid(width, height)
    return _image(x * x // 97 % 256, y * y // 31 % 256, x * y // 53 % 256)


def _image(*channels: np.ndarray) -> Image.Image:
    return Image.fromarray(np.stack(channels, axis=-1).astype(np.uint8))


def _png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()
