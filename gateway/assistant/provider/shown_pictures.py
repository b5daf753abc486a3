"""Encoded bytes of a picture → a data: URI of the size at which a model looks at it."""

from __future__ import annotations

import io

import pybase64

from clip_core.inputs.images import decode
from gateway.assistant.provider.prompt import Detail, ShownPicture

_QUALITY = 85


def shown_picture(data: bytes, side: int, detail: Detail, max_pixels: int) -> ShownPicture:
    """A JPEG, which every server reads, whose longer side has `side` pixels at most. Raises BadImage, ImageTooLarge.

    It carries no metadata of the original: no place, no camera, no text.
    """
    image = decode(data, max_pixels)
    image.thumbnail((side, side))
    written = io.BytesIO()
    image.save(written, "JPEG", quality=_QUALITY)
    url = f"data:image/jpeg;base64,{pybase64.b64encode_as_string(written.getvalue())}"
    return ShownPicture(url, image.width, image.height, detail)
