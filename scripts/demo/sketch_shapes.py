"""Shapes in many proportions, turns and widths, as masks."""

from __future__ import annotations

import math
from random import Random

from PIL import Image, ImageChops, ImageDraw, ImageFilter

Point = tuple[float, float]
TURNS = {"square": 12.0, "triangle": 40.0, "star": 36.0, "heart": 25.0, "cross": 15.0, "moon": 180.0}


def shape_mask(shape: str, size: int, rng: Random) -> Image.Image:
    """(box, box) "L": the shape in the middle, `size` pixels from there to its ends, and room for contours."""
    box = round(size * 3)
    image = Image.new("L", (box, box), 0)
    if shape in ("circle", "ring", "moon"):
        _round(shape, ImageDraw.Draw(image), box / 2, size, rng)
    else:
        points = [(box / 2 + size * x, box / 2 + size * y) for x, y in outline(shape, rng)]
        ImageDraw.Draw(image).polygon(points, fill=255)
    turn = rng.uniform(-1, 1) * TURNS.get(shape, 0) if rng.random() < 0.5 else 0
    return image.rotate(turn) if turn else image


def _round(shape: str, draw: ImageDraw.ImageDraw, middle: float, size: int, rng: Random) -> None:
    def disc(radius: float, x: float = 0, y: float = 0, fill: int = 255) -> None:
        cx, cy, r = middle + x * size, middle + y * size, radius * size
        draw.ellipse((cx - r, cy - r, cx + r, cy + r), fill=fill)

    disc(1)
    if shape == "ring":
        disc(rng.uniform(0.4, 0.85), fill=0)
    if shape == "moon":
        angle = rng.choice((0.0, math.pi, rng.uniform(-math.pi, math.pi)))
        away = rng.uniform(0.3, 0.6)
        disc(rng.uniform(0.75, 1), away * math.cos(angle), away * math.sin(angle), 0)


def outline(shape: str, rng: Random) -> list[Point]:
    match shape:
        case "square":
            side, skew = rng.uniform(0.75, 0.95), rng.uniform(0.94, 1.06)
            return [(-side, -side * skew), (side, -side * skew), (side, side * skew), (-side, side * skew)]
        case "triangle":
            width, low = rng.uniform(0.75, 1), rng.uniform(0.5, 0.9)
            return [(rng.choice((0, 0, rng.uniform(-0.4, 0.4))), -rng.uniform(0.7, 1)), (width, low), (-width, low)]
        case "star":
            inner = rng.uniform(0.32, 0.52)
            radii = [1.0 if i % 2 == 0 else inner for i in range(10)]
            return [(r * math.sin(math.pi * i / 5), -r * math.cos(math.pi * i / 5)) for i, r in enumerate(radii)]
        case "cross":
            arm = rng.uniform(0.2, 0.42)
            corner = [(-arm, -1.0), (arm, -1.0), (arm, -arm), (1.0, -arm), (1.0, arm), (arm, arm)]
            return corner + [(-x, -y) for x, y in corner]
        case _:
            return _heart(rng)


def _heart(rng: Random) -> list[Point]:
    """A point below two lobes, from slender to full."""
    lobe, low, power = rng.uniform(0.75, 1), rng.uniform(0.8, 1), rng.uniform(0.8, 1.5)
    notch = rng.uniform(0.25, 0.6)
    right = []
    for step in range(41):
        angle = math.pi * step / 40  # from the notch over the lobe to the point
        x = lobe * math.sin(angle) ** power
        y = -notch * math.sin(min(angle * 2, math.pi)) - 0.35 if angle < math.pi / 2 else 0.0
        y = y if angle < math.pi / 2 else -0.35 + (low + 0.35) * (angle / (math.pi / 2) - 1)
        right.append((x, y))
    return right + [(-x, y) for x, y in reversed(right)]


def grown(mask: Image.Image, line: int) -> Image.Image:
    """With a line of this width around it."""
    return mask.filter(ImageFilter.BoxBlur(line)).point(lambda value: 255 * (value > 2))


def hollow(mask: Image.Image, line: int) -> Image.Image:
    """Its outline, a line of this width."""
    inner = mask.filter(ImageFilter.BoxBlur(line)).point(lambda value: 255 * (value > 253))
    return ImageChops.subtract(mask, inner)
