"""What an endpoint is sent while its settings are searched for: texts of many lengths, pictures like photographs."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
from PIL import Image

COUNT = 64


def requests(kind: str) -> list[dict[str, Any]]:
    """Bodies of one item each: short and longer texts, 640×480 JPEGs, or both in turn."""
    words = ("red", "dog", "two", "night", "river", "people", "old", "boat", "on", "a", "street", "with", "small")
    texts = [" ".join(words[(i * 7 + j) % len(words)] for j in range(2 + i * i % 17)) + f" {i}" for i in range(256)]
    if kind == "text":
        return [{"input": {"text": text}} for text in texts]
    images = [base64.b64encode(data).decode() for data in photographs()]
    pictures: list[dict[str, Any]] = [{"input": {"image": image}} for image in images]
    if kind == "image":
        return pictures
    return [
        body for pair in zip(pictures, ({"input": {"text": text}} for text in texts), strict=False) for body in pair
    ]


def photographs() -> list[bytes]:
    rng = np.random.default_rng(0)
    return [_jpeg(rng) for _ in range(COUNT)]


def _jpeg(rng: np.random.Generator) -> bytes:
    small = Image.fromarray(rng.integers(0, 256, (30, 40, 3), dtype=np.uint8))
    smooth = np.asarray(small.resize((640, 480), Image.Resampling.BICUBIC)).astype(int)
    grainy = np.clip(smooth + rng.integers(-12, 12, smooth.shape), 0, 255).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(grainy).save(buffer, "JPEG", quality=88)
    return buffer.getvalue()
