"""A folder as people have them: photos of 12 megapixels in nested folders, and among them files that are none."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

SIZE = (4000, 3000)
DRAWN = 24  # different photos; the others differ from these in a comment, so every file has a digest of its own
_EVERY = 20  # one file of so many is bad


@dataclass(frozen=True)
class PhotoFolder:
    """`good`: the photos' paths; `bad`: the paths of files that no program reads as a picture."""

    root: Path
    good: list[Path]
    bad: list[Path]


def make_folder(root: Path, count: int, tell: Callable[[int], object]) -> PhotoFolder:
    """`count` files below `root`; `tell` is called with the number made so far."""
    drawn = [_photo(seed) for seed in range(min(DRAWN, count))]
    folder = PhotoFolder(root, [], [])
    for n, path in enumerate(_names(root, count)):
        path.parent.mkdir(parents=True, exist_ok=True)
        content = _commented(drawn[n % len(drawn)], n)
        if n % _EVERY == _EVERY - 1:
            path.write_bytes(_spoiled(content, n // _EVERY))
            folder.bad.append(path)
        else:
            path.write_bytes(content)
            folder.good.append(path)
        tell(n + 1)
    return folder


def _names(root: Path, count: int) -> Iterator[Path]:
    for n in range(count):
        yield root / f"{2015 + n // 100 % 10}" / f"trip {n // 25 % 4}" / f"IMG_{n:04}.JPG"


def _photo(seed: int) -> bytes:
    """JPEG of about 3 MB: soft colours, edges and grain, as a camera's."""
    rng = np.random.default_rng(seed)
    soft = Image.fromarray(rng.integers(0, 256, (9, 12, 3), np.uint8)).resize(SIZE, Image.Resampling.BICUBIC)
    edges = Image.fromarray(rng.integers(0, 256, (60, 80, 3), np.uint8)).resize(SIZE, Image.Resampling.NEAREST)
    mixed = Image.blend(soft, edges, 0.35).filter(ImageFilter.GaussianBlur(1))
    grain = rng.normal(0, 7, (SIZE[1], SIZE[0], 1))
    pixels = np.clip(np.asarray(mixed, np.float32) + grain, 0, 255).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=88)
    return file.getvalue()


def _commented(jpeg: bytes, n: int) -> bytes:
    """The same photo with a comment segment of its own after its first marker."""
    text = f"photo {n}".encode()
    return jpeg[:2] + b"\xff\xfe" + (len(text) + 2).to_bytes(2, "big") + text + jpeg[2:]


def _spoiled(jpeg: bytes, kind: int) -> bytes:
    """Cut off in its head, no bytes at all, another kind of file, or noise."""
    noise = np.random.default_rng(kind).bytes(5000)
    return [jpeg[:300], b"", b"<html>404 Not Found</html>", noise][kind % 4]
