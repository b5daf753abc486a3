"""Pictures and texts to encode, made from seeds."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pyarrow
from PIL import Image
from pyarrow import parquet

SIZE = (640, 480)
_DRAWN = 50  # different pictures; the others differ from these in a comment


def write_pictures(folder: Path, count: int, size: tuple[int, int] = SIZE) -> Path:
    """JPEGs of smooth noise, about 60 KB each, each with a digest of its own."""
    folder.mkdir(parents=True)
    drawn = [_jpeg(seed, size) for seed in range(min(_DRAWN, count))]
    for number in range(count):
        content = drawn[number % len(drawn)]
        comment = f"{number:08}".encode()
        marked = content[:2] + b"\xff\xfe" + (len(comment) + 2).to_bytes(2, "big") + comment + content[2:]
        (folder / f"{number:06}.jpg").write_bytes(marked)
    return folder


def _jpeg(seed: int, size: tuple[int, int]) -> bytes:
    dice = np.random.default_rng(seed)
    coarse = Image.fromarray(dice.integers(0, 255, (12, 16, 3), dtype=np.uint8)).resize(size, Image.Resampling.BICUBIC)
    pixels = np.asarray(coarse, np.int16) + dice.integers(-12, 12, (size[1], size[0], 3), dtype=np.int16)
    written = io.BytesIO()
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(written, "JPEG", quality=85)
    return written.getvalue()


def write_texts(path: Path, count: int) -> Path:
    """A Parquet file with row groups of 4,096."""
    table = pyarrow.table({"id": [f"{number}" for number in range(count)], "text": _texts(count)})
    parquet.write_table(table, path, row_group_size=4096)
    return path


def _texts(count: int) -> list[str]:
    colours, things = ("red", "blue", "green", "black"), ("star", "circle", "house", "boat", "tree")
    return [f"a {colours[at % 4]} {things[at % 5]} number {at}" for at in range(count)]
