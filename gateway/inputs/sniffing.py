"""What an image is, by its own header and not by what its sender says of it."""

from __future__ import annotations

import io
import warnings

from PIL import Image, UnidentifiedImageError

from clip_core.errors import BadImage, ImageTooLarge

FORMATS = (
    "JPEG",
    "PNG",
    "WEBP",
    "GIF",
    "BMP",
    "TIFF",
    "PPM",
)  # those that clip_core.inputs.images decodes; a test compares
_DAMAGED = (OSError, SyntaxError, ValueError, EOFError, IndexError, TypeError, KeyError, OverflowError)


def ignore_warnings() -> None:
    """Of PIL, which warns about odd files; once and for the whole process, since threads share its filters."""
    warnings.filterwarnings("ignore", module=r"PIL\b")


def pixels_of(content: bytes) -> int:
    """Width times height, from the header alone. Raises BadImage when it is no image of a known format."""
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            width, height = image.size
    except Image.DecompressionBombError as error:
        raise ImageTooLarge("the image has too many pixels") from error
    except UnidentifiedImageError as error:
        raise BadImage(f"not an image of a known format ({', '.join(FORMATS)})") from error
    except _DAMAGED as error:
        raise BadImage("the image's header is damaged") from error
    return width * height
