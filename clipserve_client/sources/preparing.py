"""A file's bytes → bytes that the gateway takes: HEIC and AVIF become JPEG, too large pictures are scaled down."""

from __future__ import annotations

import io
import warnings
from typing import Any, NamedTuple

from clipserve_client.answers.answers import Limits
from clipserve_client.sources.exif import facts
from clipserve_client.sources.files import Skip
from clipserve_client.sources.plain_modes import plain, upright

SIDES = (2048, 1024, 512)  # pixels of the longer side after scaling: the first that fits; models look at 224 to 384
_ROOM = 16 * 1024  # of a body, for what is not the picture
_HEIC = (b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1")
_AVIF = (b"avif", b"avis")
Json = dict[str, Any]


class Prepared(NamedTuple):
    """`facts` are from EXIF, `notes` say what was done to the picture."""

    content: bytes
    facts: Json
    notes: tuple[str, ...] = ()


def prepared(content: bytes, limits: Limits, gps: bool, *, scales: bool = True) -> Prepared:
    """Raises Skip for what can't be sent. A damaged picture goes as it is: the gateway says what is wrong with it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's, of large pictures and of damaged metadata
        return _prepared(content, limits, gps, scales)


def _prepared(content: bytes, limits: Limits, gps: bool, scales: bool) -> Prepared:
    kind, most_bytes = _container(content), min(limits.max_image_bytes, (limits.max_body_bytes - _ROOM) * 3 // 4)
    image = _opened(content, kind)
    if image is None:
        if len(content) > most_bytes:
            raise Skip("too large", f"{_size(content)}; install Pillow (clipserve-client[pictures]) to scale it down")
        return Prepared(content, {})
    with image:
        known = facts(image, gps)
        large = len(content) > most_bytes or image.width * image.height > limits.max_image_pixels
        if kind is None and not (large and scales):
            return Prepared(content, known)
        if large and not scales:
            raise Skip("too large", f"{_size(content)}, {image.width} x {image.height} pixels")
        notes = ([f"converted from {kind}"] if kind else []) + (["scaled down"] if large else [])
        return Prepared(_jpeg(image, large, most_bytes), known, tuple(notes))


def _container(content: bytes) -> str | None:
    """By its bytes, whatever the file's name says."""
    if content[4:8] != b"ftyp":
        return None
    brands = content[8:12], content[16:20]
    if any(brand in _AVIF for brand in brands):
        return "AVIF"
    return "HEIC" if any(brand in _HEIC for brand in brands) else None


def _opened(content: bytes, kind: str | None) -> Any:
    """Pillow's image; None where Pillow is missing or knows nothing of these bytes. Raises Skip."""
    try:
        from PIL import Image
    except ImportError:
        if kind is not None:
            raise Skip(f"{kind} can't be read here", "install clipserve-client[pictures]") from None
        return None
    try:
        return _heic(content) if kind == "HEIC" else Image.open(io.BytesIO(content))
    except ImportError:
        raise Skip("HEIC can't be read here", "install pillow-heif (clipserve-client[pictures])") from None
    except Image.DecompressionBombError:
        most = f"{2 * (Image.MAX_IMAGE_PIXELS or 0) / 1e6:.0f}"
        raise Skip("too many pixels", f"more than {most} million, the most that Pillow opens: scale it down") from None
    except Exception as error:  # Pillow's readers raise all kinds for damaged files
        if kind is not None:
            raise Skip(f"{kind} can't be read here", str(error)) from None
        return None


def _heic(content: bytes) -> Any:
    import pillow_heif

    return pillow_heif.open_heif(io.BytesIO(content)).to_pillow()


def _jpeg(image: Any, large: bool, most_bytes: int) -> bytes:
    """Upright, in RGB, scaled down where it is `large` or gets so as a JPEG. Raises Skip for a damaged picture."""
    try:
        image = plain(image, SIDES[0] if large else max(image.size))
        for side in SIDES if large else (max(image.size), *SIDES):
            image.thumbnail((side, side))
            content = _written(image)
            if len(content) <= most_bytes:
                return content
    except Skip:
        raise
    except Exception as error:
        raise Skip("damaged", f"{type(error).__name__}: {error}") from error
    raise Skip("too large", f"still {_size(content)} when it is scaled down")


def _written(image: Any) -> bytes:
    written = io.BytesIO()
    upright(image).convert("RGB").save(written, "JPEG", quality=92)
    return written.getvalue()


def _size(content: bytes) -> str:
    return f"{len(content) / 1e6:.0f} MB"
