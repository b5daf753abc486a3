"""Pictures and vectors as the gateway takes them in JSON. Pillow is only used where its pictures are given."""

from __future__ import annotations

import base64
import io
import sys
from array import array
from collections.abc import Iterable
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Union

if TYPE_CHECKING:
    from PIL.Image import Image

_URLS = ("http://", "https://", "data:")
_GREYS_OF_TIFF = ("I", "F", "I;16B", "I;16L")
PictureSource = Union[str, "PathLike[str]", bytes, bytearray, "Image"]
Vector = str | Iterable[float]  # numbers (also a NumPy array), or base64 of little-endian float32


@dataclass(frozen=True)
class Picture:
    """A picture in a place where a plain string would be a text: a path, bytes, a URL, or Pillow's picture."""

    source: PictureSource


def encoded_picture(source: PictureSource | Picture) -> str:
    """The `image` of a request: URLs as they are, all others as base64. A plain string is a URL or a path.

    Raises OSError for a file that can't be read, TypeError for anything else.
    """
    if isinstance(source, Picture):
        return encoded_picture(source.source)
    if isinstance(source, str) and source.startswith(_URLS):
        return source
    return base64.b64encode(picture_bytes(source)).decode("ascii")


def picture_bytes(source: PictureSource) -> bytes:
    if isinstance(source, bytes | bytearray):
        return bytes(source)
    if isinstance(source, str | PathLike):
        return Path(source).read_bytes()
    if callable(getattr(source, "save", None)):
        return _without_loss(source)
    raise TypeError(f"a picture is a path, bytes, a URL or a Pillow image, not {type(source).__name__}")


def _without_loss(image: Any) -> bytes:
    """PNG, turned as its EXIF says; TIFF for greys that PNG would cut off; modes that both lack become RGB."""
    from PIL import ImageOps

    written = io.BytesIO()
    image = ImageOps.exif_transpose(image)
    if image.mode in _GREYS_OF_TIFF:
        image.save(written, "TIFF")
        return written.getvalue()
    known = image.mode in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")
    (image if known else image.convert("RGB")).save(written, "PNG", compress_level=1)
    return written.getvalue()


def encoded_vector(vector: Vector) -> str:
    """base64 of little-endian float32."""
    if isinstance(vector, str):
        return vector
    numbers = array("f", (float(number) for number in vector))
    if sys.byteorder == "big":
        numbers.byteswap()
    return base64.b64encode(numbers.tobytes()).decode("ascii")


def decoded_vector(text: str) -> list[float]:
    """Raises ValueError."""
    numbers = array("f", base64.b64decode(text))
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers.tolist()
