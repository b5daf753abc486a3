"""Drawings to choose a model by: neither what it learns from nor what it is judged by.

Shapes are inequalities over pixels.
"""

from __future__ import annotations

from random import Random

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageColor

from scripts.demo.scenes import COLORS, COUNTS, SHAPES, article, plural

Grid = NDArray[np.float64]
Inside = NDArray[np.bool_]
GROUNDS = ("white", "whitesmoke", "lightgray", "black", "midnightblue", "lavender", "ivory")
PEN = {
    "red": "red firebrick crimson",
    "orange": "orange darkorange",
    "yellow": "yellow gold",
    "lime": "lime chartreuse",
}
PEN |= {"green": "green forestgreen seagreen", "cyan": "cyan darkturquoise", "blue": "blue royalblue mediumblue"}
PEN |= {"purple": "purple indigo darkviolet", "pink": "pink hotpink", "brown": "saddlebrown sienna"}


def probe_set(seed: int) -> tuple[list[str], list[Image.Image]]:
    """Twelve captions and their drawings, three of them of two shapes."""
    rng = Random(seed)
    shapes, colors = rng.sample(SHAPES, rng.randint(4, 8)), rng.sample(list(COLORS), rng.randint(4, 8))
    pairs = [(shape, color) for shape in shapes for color in colors]
    asked = [(*pair, 1) for pair in rng.sample(pairs, 9)] + [(*pair, 2) for pair in rng.sample(pairs, 3)]
    return [_caption(*each) for each in asked], [_draw(*each, rng) for each in asked]


def _caption(shape: str, color: str, count: int) -> str:
    words = f"{color} {shape}"
    return article(words) if count == 1 else f"{COUNTS[count]} {plural(words)}"


def _draw(shape: str, color: str, count: int, rng: Random) -> Image.Image:
    side = rng.randint(60, 400)
    radius = rng.uniform(0.16, 0.42) if count == 1 else rng.uniform(0.11, 0.2)
    middles = [(rng.uniform(radius, 1 - radius), rng.uniform(radius, 1 - radius))]
    if count == 2:
        across, along = rng.uniform(0.22, 0.28), rng.uniform(-0.2, 0.2)
        middles = [(0.5 - across, 0.5 - along), (0.5 + across, 0.5 + along)]
        middles = [middle[::-1] for middle in middles] if rng.random() < 0.5 else middles
    ground = rng.choice(GROUNDS)
    pixels = np.empty((side, side, 3), np.uint8)
    pixels[:] = ImageColor.getrgb(ground)
    line = (np.arange(side) + 0.5) / side
    for x, y in middles:
        inside = _inside(shape, (line[None] - x) / radius, (line[:, None] - y) / radius)
        pixels[inside] = ImageColor.getrgb(rng.choice(PEN[color].split()))
    return Image.fromarray(pixels)


def _inside(shape: str, x: Grid, y: Grid) -> Inside:
    away = np.hypot(x, y)
    match shape:
        case "circle":
            return away < 1
        case "ring":
            return (away < 1) & (away > 0.65)
        case "moon":
            return (away < 1) & (np.hypot(x - 0.4, y + 0.1) > 0.8)
        case "square":
            return np.maximum(abs(x), abs(y)) < 0.85
        case "triangle":
            return (y < 0.8) & (y > 2 * abs(x) - 1)
        case "cross":
            return (np.minimum(abs(x), abs(y)) < 0.28) & (np.maximum(abs(x), abs(y)) < 1)
        case "star":
            turn = np.abs((np.arctan2(x, -y) * 5 / (2 * np.pi) + 0.5) % 1 - 0.5) * 2  # 0 at a point, 1 between two
            return away < 1 / (1 + 1.4 * turn)
        case _:
            u, v = 1.15 * x, -1.15 * y + 0.15
            return (u**2 + v**2 - 1) ** 3 - u**2 * v**3 < 0
