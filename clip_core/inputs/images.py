"""Image bytes → the pixels that the open_clip reference would see.

Decoding is PIL's; resizing, cropping and normalising are open_clip's own evaluation transform. Two things are done
before it that the reference leaves to its caller: EXIF orientation is applied, and greys of more than 8 bits are
scaled to 8 (`deep_greys`: PIL's own conversion clips them). Alpha is dropped, CMYK and palettes are converted; of an
animation, the first frame counts. Metadata never makes a picture bad: what PIL can't read of it is left out. A JPEG
may be decoded at a fraction of its size ("draft"), faster and with other pixels: only where asked for.
"""

from __future__ import annotations

import contextlib
import functools
import io
import warnings
from collections.abc import Callable, Iterator

from PIL import Image, UnidentifiedImageError

from clip_core.data_urls import decode_base64, image_base64
from clip_core.errors import BadImage, ClipServeError, ImageTooLarge
from clip_core.inputs import deep_greys
from clip_core.inputs.metadata_removal import without_metadata
from clip_core.inputs.orientation import upright

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM")
MAX_IMAGE_PIXELS = 64_000_000
Read = Callable[[Image.Image], Image.Image]


def decode(data: bytes, max_pixels: int = MAX_IMAGE_PIXELS) -> Image.Image:
    """Encoded bytes → upright 8-bit RGB image.

    Raises ImageTooLarge before anything is decompressed, BadImage when the bytes are not a whole image.
    """
    with pil_warnings_ignored():
        return decode_unguarded(data, max_pixels)


@contextlib.contextmanager
def pil_warnings_ignored() -> Iterator[None]:
    """PIL warns about odd files; filters belong to the process, so whoever starts threads that decode holds this."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def decode_unguarded(
    data: bytes, max_pixels: int = MAX_IMAGE_PIXELS, draft: tuple[int, int] | None = None
) -> Image.Image:
    """`decode` for many threads at once, inside one `pil_warnings_ignored`.

    `draft`: (width, height) that a JPEG may be shrunk to while it is decoded, never below.
    """

    def as_drafted(image: Image.Image) -> Image.Image:
        if draft and image.format == "JPEG":
            image.draft(None, draft)
        return to_rgb(image)

    return read_picture(data, max_pixels, as_drafted)


def read_picture(data: bytes, max_pixels: int, read: Read) -> Image.Image:
    """What `read` makes of the opened picture, whose pixels are not decoded yet; again without damaged metadata.

    Raises ImageTooLarge before `read` is called, BadImage for whatever it stumbles over.
    """
    if not data:
        raise BadImage("the image is empty (0 bytes)")
    try:
        return _read(data, max_pixels, read)
    except BadImage as error:
        for keep_turn in (True, False):
            bare = without_metadata(data, keep_turn=keep_turn)
            if bare is not None:
                with contextlib.suppress(BadImage):
                    return _read(bare, max_pixels, read)
        raise error


def _read(data: bytes, max_pixels: int, read: Read) -> Image.Image:
    """PIL's parsers raise whatever they stumble over, so whatever they raise is the picture's error."""
    try:
        _register_formats()
        image = Image.open(io.BytesIO(data), formats=FORMATS)
        _check_size(image, max_pixels)
        return read(image)
    except ClipServeError:
        raise
    except Image.DecompressionBombError as error:
        limit = min(max_pixels, 2 * (Image.MAX_IMAGE_PIXELS or max_pixels))
        raise ImageTooLarge(f"the image has too many pixels, the limit is {limit:,}") from error
    except MemoryError as error:
        raise ImageTooLarge(f"the image is too large: {error}") from error
    except UnidentifiedImageError as error:
        raise BadImage(f"not an image of a known format ({', '.join(FORMATS)})") from error
    except Exception as error:
        raise BadImage(f"the image is damaged: {error}") from error


@functools.cache
def _register_formats() -> None:
    Image.init()


def _check_size(image: Image.Image, max_pixels: int) -> None:
    width, height = image.size
    if width * height > max_pixels:
        raise ImageTooLarge(f"the image has {width}×{height} pixels, the limit is {max_pixels:,}")


def to_rgb(image: Image.Image) -> Image.Image:
    """Any PIL mode → RGB, upright, first frame. Raises BadImage for greys of no usual range."""
    image.seek(0)
    image.load()
    image = upright(image)
    if image.mode == "RGB":
        return image
    if image.mode in deep_greys.MODES:
        image = deep_greys.to_8_bits(image)
    if image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")
    return image.convert("RGB")


def from_reference(reference: str) -> bytes:
    """A `data:` URI or bare base64 → bytes. Raises BadImage."""
    text = image_base64(reference)
    if text.startswith(("http://", "https://")):
        raise BadImage("image URLs are not fetched here: send the bytes, a data: URI or base64")
    try:
        return decode_base64(text)
    except ValueError as error:
        raise BadImage("the image is neither a data: URI nor base64") from error
