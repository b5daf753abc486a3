"""Greys of more than 8 bits → 8 bits, by the range that their values are of.

A file says how many bits a value has, and not how many are used: 12-bit cameras write 16-bit files, floats are of
0..1 or of 0..255. So white is the least of 1, 15, 255, 4095 and 65535 that holds the brightest value: no picture comes
out nearly black, and what fills 16 bits is scaled as its format says. open_clip's `convert("RGB")` clips at 255.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from clip_core.errors import BadImage

MODES = ("I;16", "I;16B", "I;16L", "I;16N", "I", "F")
_WHITES = (1, 15, 255, 4095, 65535)
_BLOCK = 1 << 18  # pixels that are scaled at a time
_OVERSHOOT = 0.05  # of white: what resampling leaves of floats outside their range, and is clipped


def to_8_bits(image: Image.Image) -> Image.Image:
    """A picture of one of `MODES` → mode L. Raises BadImage for values that are of no usual range."""
    white = _white(image)
    scaled = np.empty((image.height, image.width), np.uint8)
    for top, block in _blocks(image):
        scaled[top : top + len(block)] = _scaled(block, white)
    return Image.fromarray(scaled)


def _blocks(image: Image.Image) -> Iterator[tuple[int, NDArray[Any]]]:
    """Some rows at a time, with the first one's number. NaN and infinity say "no data" and are black."""
    rows = max(1, _BLOCK // image.width)
    for top in range(0, image.height, rows):
        values = np.asarray(image.crop((0, top, image.width, min(top + rows, image.height))))
        yield top, np.nan_to_num(values, nan=0, posinf=0, neginf=0) if image.mode == "F" else values


def _white(image: Image.Image) -> int:
    lowest, highest = zip(*((block.min(), block.max()) for _, block in _blocks(image)), strict=True)
    low, high = float(np.min(lowest)), float(np.max(highest))
    slack = _OVERSHOOT if image.mode == "F" else 0.0
    white = next((white for white in _WHITES if high <= white * (1 + slack)), 0)
    if not white or not low >= -white * slack:
        raise BadImage(
            f"the image's grey values go from {low:g} to {high:g}: scale them to 0..1, 0..255 or 0..65535, then send it"
        )
    return white


def _scaled(values: NDArray[Any], white: int) -> NDArray[np.uint8]:
    if values.dtype.kind == "f":
        scaled = np.rint(np.clip(values, 0, white) * (255 / white))
    else:
        scaled = (values.astype(np.uint32) * 255 + white // 2) // white
    return np.asarray(scaled, np.uint8)
