"""Scene → picture, anti-aliased, at any size; objects lie in the central square, which CLIP's crop keeps."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from scripts.demo.scenes import BACKGROUNDS, COLORS, Object, Scene, radius

OVERSAMPLE = 3
Mask = NDArray[np.bool_]


def render(scene: Scene, width: int, height: int) -> Image.Image:
    """An RGB picture of `width`×`height` pixels; equal arguments give equal pixels."""
    canvas = _background(scene, width, height)
    side = min(width, height)
    left, top = (width - side) / 2, (height - side) / 2
    kinds = scene.objects if scene.relation else scene.objects * scene.count
    for each, (x, y) in zip(kinds, scene.places, strict=True):
        _stamp(canvas, each, left + x * side, top + y * side, radius(scene) * side)
    return canvas


def _background(scene: Scene, width: int, height: int) -> Image.Image:
    """A soft diagonal light over the colour, so that it looks like a surface."""
    slope = np.add.outer(np.linspace(-1, 1, height), np.linspace(-1, 1, width))
    direction = 1 if scene.seed % 2 else -1
    shade = 1 - 0.05 * direction * slope[..., None]
    pixels = np.clip(np.array(BACKGROUNDS[scene.background]) * shade, 0, 255)
    return Image.fromarray(pixels.astype(np.uint8))


def _stamp(canvas: Image.Image, each: Object, x: float, y: float, size: float) -> None:
    """Draw one object around (x, y): its mask and texture oversampled, then scaled down together."""
    reach = math.ceil(size) + 2
    box = 2 * reach
    big = box * OVERSAMPLE
    mask = _mask(each.shape, big, size * OVERSAMPLE).resize((box, box), Image.Resampling.BOX)
    paint = _paint(each, big, size * OVERSAMPLE).resize((box, box), Image.Resampling.BOX)
    canvas.paste(paint, (round(x) - reach, round(y) - reach), mask)


def _paint(each: Object, box: int, size: float) -> Image.Image:
    color = np.array(COLORS[each.color], dtype=np.float64)
    both = np.stack([color, color * 0.38]).astype(np.uint8)
    return Image.fromarray(both.take(PATTERNS[each.texture](box, size), axis=0))


def _grid(box: int, size: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Coordinates in radii, 0 in the middle: of columns (1, box) and of rows (box, 1)."""
    line = (np.arange(box, dtype=np.float64) + 0.5 - box / 2) / size
    return line[None, :], line[:, None]


def _striped(box: int, size: float) -> Mask:
    x, y = _grid(box, size)
    return np.asarray(np.floor((x + y) * 2.6 + 0.5) % 2 == 1)


def _dotted(box: int, size: float) -> Mask:
    x, y = _grid(box, size)
    cell = 0.52
    return np.asarray(np.hypot((x + cell / 2) % cell - cell / 2, (y + cell / 2) % cell - cell / 2) < 0.17)


def _checkered(box: int, size: float) -> Mask:
    x, y = _grid(box, size)
    return np.asarray((np.floor(x * 2.2) + np.floor(y * 2.2)) % 2 == 1)


PATTERNS: dict[str, Callable[[int, float], Mask]] = {
    "plain": lambda box, _size: np.zeros((box, box), dtype=np.bool_),
    "striped": _striped,
    "dotted": _dotted,
    "checkered": _checkered,
}


def _mask(shape: str, box: int, size: float) -> Image.Image:
    image = Image.new("L", (box, box), 0)
    draw, middle = ImageDraw.Draw(image), box / 2

    def disc(radius: float, x: float = 0.0, y: float = 0.0, fill: int = 255) -> None:
        cx, cy, r = middle + x * size, middle + y * size, radius * size
        draw.ellipse((cx - r, cy - r, cx + r, cy + r), fill=fill)

    if shape == "circle":
        disc(1.0)
    elif shape == "ring":
        disc(1.0)
        disc(0.5, fill=0)
    elif shape == "moon":
        disc(1.0)
        disc(0.86, x=0.48, y=-0.2, fill=0)
    else:
        draw.polygon([(middle + x * size, middle + y * size) for x, y in OUTLINES[shape]()], fill=255)
    return image


def _star() -> list[tuple[float, float]]:
    radii = [1.0 if i % 2 == 0 else 0.42 for i in range(10)]
    return [(r * math.sin(math.pi * i / 5), -r * math.cos(math.pi * i / 5)) for i, r in enumerate(radii)]


def _heart() -> list[tuple[float, float]]:
    angles = [2 * math.pi * i / 60 for i in range(60)]
    xs = [16 * math.sin(a) ** 3 for a in angles]
    ys = [13 * math.cos(a) - 5 * math.cos(2 * a) - 2 * math.cos(3 * a) - math.cos(4 * a) for a in angles]
    return [(x / 16.5, -(y + 2.5) / 15.5) for x, y in zip(xs, ys, strict=True)]


def _cross() -> list[tuple[float, float]]:
    arm, end = 0.34, 1.0
    corner = [(-arm, -end), (arm, -end), (arm, -arm), (end, -arm), (end, arm), (arm, arm)]
    return corner + [(-x, -y) for x, y in corner]


OUTLINES: dict[str, Callable[[], list[tuple[float, float]]]] = {
    "square": lambda: [(-0.86, -0.86), (0.86, -0.86), (0.86, 0.86), (-0.86, 0.86)],
    "triangle": lambda: [(0, -1), (0.98, 0.8), (-0.98, 0.8)],
    "star": _star,
    "heart": _heart,
    "cross": _cross,
}
