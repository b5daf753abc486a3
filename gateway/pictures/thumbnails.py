"""Encoded bytes of a picture → small WebP pictures of it, decoding as little as possible."""

from __future__ import annotations

import io
from pathlib import Path

from PIL import Image

from clip_core.inputs.deep_greys import MODES, to_8_bits
from clip_core.inputs.images import FORMATS, read_picture
from clip_core.inputs.orientation import upright

SIZES = (256, 768)  # pixels of the longer side: a tile of the page, and what its viewer shows first
_QUALITY = {256: 80, 768: 75}
_EFFORT = {256: 2, 768: 0}  # WebP's, 0 to 6: at 0 a file is a tenth larger than at 4, and made three times as fast
_LARGEST_PROFILE = 4096  # bytes; a phone's Display P3 has about 500
_EXACT = ("RGB", "RGBA")  # modes whose colour profile still holds after `_flat`


def thumbnails(data: bytes, max_pixels: int) -> dict[int, bytes]:
    """By size in pixels. Upright, first frame, never larger than the picture, on white where it is transparent.

    Raises BadImage, or ImageTooLarge before anything is decompressed.
    """
    image = read_picture(data, max_pixels, _largest)
    made = {}
    for size in sorted(SIZES, reverse=True):
        image = _scaled(image, size)
        made[size] = _webp(image, size)
    return made


def can_be_made(path: Path, max_pixels: int) -> bool:
    """Whether the file is a picture of a known format and not too large. Reads its first bytes only."""
    try:
        with Image.open(path, formats=FORMATS) as image:
            return image.width * image.height <= max_pixels
    except Exception:  # of Pillow, which raises whatever it stumbles over
        return False


def nearest(size: int) -> int:
    """The smallest of `SIZES` that has as many pixels, else the largest."""
    return next((each for each in SIZES if each >= size), SIZES[-1])


def _largest(image: Image.Image) -> Image.Image:
    """The opened picture at the largest of the sizes. A JPEG is decoded at a fraction of its own."""
    if image.format == "JPEG":
        image.draft(None, _fitted(image.size, SIZES[-1]))
    image.seek(0)
    image.load()
    profile = image.info.get("icc_profile") if image.mode in _EXACT else None
    small = _flat(_scaled(_resizable(upright(image)), SIZES[-1]))
    small.info = {"icc_profile": profile} if profile and len(profile) <= _LARGEST_PROFILE else {}
    return small


def _resizable(image: Image.Image) -> Image.Image:
    """Of a mode that can be scaled without loss: RGB, or RGBA where something is transparent."""
    if image.mode in MODES:
        image = to_8_bits(image)
    return image.convert("RGBA" if image.has_transparency_data else "RGB")


def _flat(image: Image.Image) -> Image.Image:
    if image.mode == "RGB":
        return image
    white = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(white, image).convert("RGB")


def _scaled(image: Image.Image, longest: int) -> Image.Image:
    size = _fitted(image.size, longest)
    if size == image.size:
        return image
    return image.resize(size, Image.Resampling.HAMMING, reducing_gap=1.0)


def _fitted(size: tuple[int, int], longest: int) -> tuple[int, int]:
    """The same shape within `longest` pixels; as it is where it is smaller."""
    scale = min(1.0, longest / max(size))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def _webp(image: Image.Image, size: int) -> bytes:
    written = io.BytesIO()
    profile = image.info.get("icc_profile") or b""
    image.save(written, "WEBP", quality=_QUALITY[size], method=_EFFORT[size], icc_profile=profile)
    return written.getvalue()
