"""Colour values of sketches: a region of hue, saturation and value for each name, as people use it."""

from __future__ import annotations

import colorsys
from random import Random

Rgb = tuple[int, int, int]
Region = tuple[tuple[float, float], tuple[float, float], tuple[float, float]]  # hue in degrees, saturation, value

COLORS: dict[str, Region] = {
    "red": ((-10, 9), (0.65, 1), (0.65, 1)),
    "orange": ((17, 45), (0.75, 1), (0.85, 1)),
    "yellow": ((45, 63), (0.6, 1), (0.85, 1)),
    "lime": ((72, 121), (0.6, 1), (0.8, 1)),
    "green": ((100, 160), (0.5, 1), (0.3, 0.78)),
    "cyan": ((176, 193), (0.55, 1), (0.7, 1)),
    "blue": ((202, 246), (0.55, 1), (0.5, 1)),
    "purple": ((262, 305), (0.4, 1), (0.4, 1)),
    "pink": ((318, 352), (0.22, 0.85), (0.88, 1)),
    "brown": ((0, 34), (0.4, 1), (0.28, 0.62)),
}
BACKGROUNDS: dict[str, Region] = {
    "white": ((0, 360), (0, 0.02), (0.96, 1)),
    "black": ((0, 360), (0, 0.3), (0, 0.12)),
    "gray": ((0, 360), (0, 0.06), (0.3, 0.75)),
    "beige": ((34, 60), (0.08, 0.2), (0.85, 0.98)),
}
OTHER_GROUNDS: tuple[Region, ...] = (
    ((0, 360), (0.02, 0.2), (0.85, 1)),
    ((0, 360), (0.2, 0.9), (0.1, 0.35)),
    ((0, 360), (0, 0.02), (0.78, 0.95)),
    ((0, 360), (0, 1), (0.2, 1)),
)
_APART = 90  # between two colours that lie on each other, in RGB


def of(region: Region, rng: Random) -> Rgb:
    hue, saturation, value = (rng.uniform(*bounds) for bounds in region)
    red, green, blue = colorsys.hsv_to_rgb(hue % 360 / 360, saturation, value)
    return round(255 * red), round(255 * green), round(255 * blue)


def ground(name: str, on_it: list[Rgb], rng: Random) -> Rgb:
    """A background of this name, or one without a name, that every colour on it stands out from."""
    for _ in range(100):
        found = of(BACKGROUNDS[name] if name else rng.choice(OTHER_GROUNDS), rng)
        if all(apart(found, each) for each in on_it):
            return found
    return (255, 255, 255) if sum(on_it[0]) < 384 else (0, 0, 0)


def apart(one: Rgb, other: Rgb) -> bool:
    return sum((a - b) ** 2 for a, b in zip(one, other, strict=True)) > _APART**2
