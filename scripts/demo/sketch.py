"""Scene → a plain drawing of it in one of countless hands, to learn from: the gallery is drawn by render.py alone.

What `render` fixes varies here: colour values, grounds, proportions, turns, sizes, contours, frames, edges, JPEG.
"""

from __future__ import annotations

import io
import math
from random import Random

from PIL import Image, ImageDraw

from scripts.demo import sketch_colors
from scripts.demo.render import PATTERNS
from scripts.demo.scenes import Object, Scene
from scripts.demo.sketch_colors import Rgb
from scripts.demo.sketch_shapes import grown, hollow, shape_mask

RADII = {"small": (0.1, 0.2), "large": (0.23, 0.45)}
Place = tuple[float, float]


def sketch(scene: Scene, rng: Random) -> Image.Image:
    """RGB, of any size and aspect ratio. A scene without a background's name gets a ground that has none."""
    oversample = rng.choice((1, 1, 3))
    side = round(math.exp(rng.uniform(math.log(56), math.log(180))))
    width, height = _stretched(side, rng)
    kinds = scene.objects if scene.relation else scene.objects * scene.count
    colors = {each: sketch_colors.of(sketch_colors.COLORS[each.color], rng) for each in scene.objects}
    canvas = Image.new("RGB", (width, height), sketch_colors.ground(scene.background, list(colors.values()), rng))
    pen = _Pen(canvas, oversample, rng)
    radius, places = _layout(scene, rng)
    for each, place in zip(kinds, places, strict=True):
        pen.stamp(each, colors[each], place, radius)
    _frame(canvas, rng)
    return _through_a_file(canvas, rng)


def _stretched(side: int, rng: Random) -> tuple[int, int]:
    longer = round(side * rng.choice((1, 1, rng.uniform(1, 2))))
    return rng.choice(((side, longer), (longer, side)))


def _layout(scene: Scene, rng: Random) -> tuple[float, list[Place]]:
    """Radius and centres, in sides of the central square."""
    if scene.relation:
        return rng.uniform(0.1, 0.19), list(scene.places)
    if scene.count == 1:
        radius = rng.uniform(*RADII[scene.size])
        spread = max(0.0, 0.48 - radius)
        return radius, [(0.5 + rng.uniform(-spread, spread), 0.5 + rng.uniform(-spread, spread))]
    return _around(scene.count, rng)


def _around(count: int, rng: Random) -> tuple[float, list[Place]]:
    """On a circle around the middle, at any angle."""
    start, far = rng.uniform(0, 2 * math.pi), rng.uniform(0.2, 0.3)
    radius = rng.uniform(0.08, 0.9 * far * math.sin(math.pi / count))
    angles = [start + 2 * math.pi * number / count for number in range(count)]
    return min(radius, 0.48 - far), [(0.5 + far * math.cos(angle), 0.5 + far * math.sin(angle)) for angle in angles]


class _Pen:
    """One hand: contours, lines and edges are alike all over a drawing."""

    def __init__(self, canvas: Image.Image, oversample: int, rng: Random) -> None:
        self.canvas, self.oversample, self.rng = canvas, oversample, rng
        self.contour: Rgb | None = _ink(rng) if rng.random() < 0.25 else None
        self.hollow, self.line = rng.random() < 0.1, rng.uniform(0.02, 0.12)

    def stamp(self, each: Object, color: Rgb, place: Place, radius: float) -> None:
        side = min(self.canvas.size)
        size = max(4, round(radius * side)) * self.oversample
        mask = shape_mask(each.shape, size, self.rng)
        line = max(1, round(self.line * size))
        if self.hollow and each.texture == "plain" and each.shape not in ("circle", "ring", "moon"):
            mask = hollow(mask, max(line, round(0.12 * size)))
        elif self.contour:
            self._paste(Image.new("RGB", mask.size, self.contour), grown(mask, line), place)
        self._paste(self._paint(each, color, mask.width, size), mask, place)

    def _paint(self, each: Object, color: Rgb, box: int, size: int) -> Image.Image:
        if each.texture == "plain":
            return Image.new("RGB", (box, box), color)
        dark = tuple(round(part * self.rng.uniform(0.3, 0.45)) for part in color)
        pattern = PATTERNS[each.texture](box, size * self.rng.uniform(0.8, 1.3))
        paint = Image.new("RGB", (box, box), color)
        paint.paste(dark, (0, 0), Image.fromarray(pattern).convert("L"))
        return paint

    def _paste(self, paint: Image.Image, mask: Image.Image, place: Place) -> None:
        (width, height), side = self.canvas.size, min(self.canvas.size)
        box = mask.width // self.oversample
        if self.oversample > 1:
            paint, mask = (each.resize((box, box), Image.Resampling.BOX) for each in (paint, mask))
        x = (width - side) / 2 + place[0] * side - box / 2
        y = (height - side) / 2 + place[1] * side - box / 2
        self.canvas.paste(paint, (round(x), round(y)), mask)


def _ink(rng: Random) -> Rgb:
    shade = rng.choice((0, 0, 255, rng.randrange(256)))
    return shade, shade, shade


def _frame(canvas: Image.Image, rng: Random) -> None:
    """A border in one drawing of six; in one of six the axes of a chart."""
    draw, kind = ImageDraw.Draw(canvas), rng.random()
    last = (canvas.width - 1, canvas.height - 1)
    if kind < 0.16:
        inset, width = rng.choice((0, 0, rng.randrange(6))), rng.randrange(1, 6)
        draw.rectangle((inset, inset, last[0] - inset, last[1] - inset), outline=_ink(rng), width=width)
    elif kind < 0.32:
        inset, ink = round(min(last) * rng.uniform(0.04, 0.12)), _ink(rng)
        draw.rectangle((inset, inset, last[0] - inset, last[1] - inset), outline=ink)
        for part in range(1, rng.randrange(3, 8)):
            x, y = inset + part * (last[0] - inset) // 8, inset + part * (last[1] - inset) // 8
            draw.line((x, last[1] - inset, x, last[1] - inset + 3), ink)
            draw.line((inset - 3, y, inset, y), ink)


def _through_a_file(canvas: Image.Image, rng: Random) -> Image.Image:
    """As JPEG in one case of three."""
    if rng.random() < 0.67:
        return canvas
    file = io.BytesIO()
    canvas.save(file, "JPEG", quality=rng.randrange(25, 95))
    return Image.open(file).convert("RGB")
