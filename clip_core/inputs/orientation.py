"""Which way up a picture is: of all its metadata, the one thing that changes its vector."""

from __future__ import annotations

import struct

from PIL import ExifTags, Image

_ENTRY = 12  # bytes of a tag in an EXIF directory: number, type, count, value
_MOST_ENTRIES = 1000
_SHORT = 3
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def upright(image: Image.Image) -> Image.Image:
    """The pixels of `ImageOps.exif_transpose`, which fails where PIL can't write the EXIF again: nothing is written."""
    turn = _TURNS.get(_known_to_pil(image) or _first_found(image.info.get("exif")))
    return image if turn is None else image.transpose(turn)


def _known_to_pil(image: Image.Image) -> int:
    """Of EXIF or XMP; 0 for none, and for what PIL can't read: it raises whatever its parser stumbles over."""
    try:
        value = image.getexif().get(ExifTags.Base.Orientation)
        return int(value) if value in _TURNS else 0
    except Exception:
        return 0


def _first_found(exif: object) -> int:
    """The orientation in EXIF of which PIL gave up at some tag before it, as browsers read it; 0 for none."""
    if not isinstance(exif, bytes):
        return 0
    tiff = exif.removeprefix(b"Exif\0\0")
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(tiff[:4])
    try:
        return _scan(tiff, order) if order else 0
    except struct.error:
        return 0


def _scan(tiff: bytes, order: str) -> int:
    (start,) = struct.unpack_from(order + "L", tiff, 4)
    (count,) = struct.unpack_from(order + "H", tiff, start)
    for at in range(start + 2, start + 2 + _ENTRY * min(count, _MOST_ENTRIES), _ENTRY):
        tag, kind, values, value = struct.unpack_from(order + "HHLH", tiff, at)
        if (tag, kind, values) == (ExifTags.Base.Orientation, _SHORT, 1):
            return int(value)
    return 0
