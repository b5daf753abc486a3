"""Pictures of unusual modes in 8 bits and without alpha, as the gateway sees them, before they are scaled down.

Pillow shrinks palettes and 1-bit pictures by leaving pixels out, mixes transparent colours in, and clips deep greys.
"""

from __future__ import annotations

from typing import Any

from clipserve_client.sources.files import Skip

DEEP = ("I;16", "I;16B", "I;16L", "I;16N", "I", "F")  # greys of more than 8 bits
_WHITES = (1, 15, 255, 4095, 65535)  # the gateway's: white is the least that holds the brightest value
_OVERSHOOT = 0.05  # of white, that floats may lie outside
_PLAIN = {"1": "L", **dict.fromkeys(("P", "PA", "LA", "La", "RGBA", "RGBa"), "RGB")}


def plain(image: Any, side: int) -> Any:
    """Upright, where the mode is unusual; else the picture itself. Deep greys have `side` pixels at most.

    Raises Skip for grey values of no usual range.
    """
    if image.mode in DEEP:
        return _in_8_bits(upright(image), side)
    return upright(image).convert(_PLAIN[image.mode]) if image.mode in _PLAIN else image


def upright(image: Any) -> Any:
    """As its EXIF says; damaged EXIF says nothing."""
    from PIL import ImageOps

    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # of whatever kind: metadata never makes a picture bad
        image.load()  # raises what is wrong with the picture itself
        return image


def _in_8_bits(image: Any, side: int) -> Any:
    slack = _OVERSHOOT if image.mode == "F" else 0.0
    values = image.convert("F")
    low, high = values.getextrema()
    white = next((white for white in _WHITES if -white * slack <= low and high <= white * (1 + slack)), None)
    if white is None:
        raise Skip(
            "unusual greys",
            f"grey values go from {low:g} to {high:g}: scale them to 0..1, 0..255 or 0..65535",
        )
    values.thumbnail((side, side))
    return values.point(lambda value: value * (255 / white) + 0.5).convert("L")  # clips, and cuts fractions off
