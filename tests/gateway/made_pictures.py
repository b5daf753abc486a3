"""Pictures and stores of them for tests."""

from __future__ import annotations

import base64
import io
import random
from pathlib import Path

from PIL import Image

from gateway.pictures.store import PictureStore

MOST, DIGEST = 64_000_000, "ab" * 32


def encoded(image: Image.Image, kind: str = "PNG", **options) -> bytes:
    written = io.BytesIO()
    image.save(written, kind, **options)
    return written.getvalue()


def base64_of(data: bytes) -> str:
    return base64.b64encode(data).decode()


def opened(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


def middle(data: bytes) -> tuple[int, ...]:
    image = opened(data).convert("RGB")
    return image.getpixel((image.width // 2, image.height // 2))


def store_of(path: Path, most: int = 10**9, free: int = 0) -> PictureStore:
    return PictureStore(path / "pictures", most, free)


def photo(seed: int = 0, size: tuple[int, int] = (900, 600)) -> bytes:
    """A picture of its own. The fake TorchServe takes what begins as PNG does."""
    colours = random.Random(seed).randbytes(48)
    return encoded(Image.frombytes("RGB", (4, 4), colours).resize(size))
