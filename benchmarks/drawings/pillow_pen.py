"""Pillow: shapes of ImageDraw or characters of a font, with hard or smooth edges, as PNG, GIF, JPEG or WebP."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from math import cos, pi, sin

from PIL import Image, ImageChops, ImageDraw, ImageFilter, ImageFont

from benchmarks.drawings.drawing import Drawing, Place

Mask = Image.Image  # "L": 255 where the shape is
Outline = Callable[[str, int], Mask]
_GLYPHS = {"circle": "●", "square": "■", "triangle": "▲", "star": "★", "heart": "♥", "cross": "✚"}


@dataclass(frozen=True)
class PillowPen:
    """`smooth`: drawn four times as large and reduced."""

    outline: Outline
    smooth: bool
    format: str
    quality: int = 75

    def draw(self, drawing: Drawing) -> bytes:
        canvas = Image.new(
            "RGBA", (drawing.width, drawing.height), (*(drawing.ground or (0, 0, 0)), 255 * bool(drawing.ground))
        )
        for place in drawing.places:
            self._shape(canvas, drawing, place)
        if drawing.frame:
            ImageDraw.Draw(canvas).rectangle(
                (0, 0, drawing.width - 1, drawing.height - 1),
                None,
                drawing.frame,
                max(1, round(drawing.line * drawing.side)),
            )
        return _saved(canvas, self.format, self.quality)

    def _shape(self, canvas: Image.Image, drawing: Drawing, place: Place) -> None:
        scale = 4 if self.smooth else 1
        extent = max(8, round(2 * place.half * drawing.side))
        margin = extent // 4 + 1
        line = max(1, round(drawing.line * extent)) * scale
        mask = self.outline(drawing.shape, extent * scale)
        box = Image.new("L", (mask.width + 2 * margin * scale, mask.height + 2 * margin * scale), 0)
        box.paste(mask, (margin * scale, margin * scale))
        box = box.rotate(place.turn, Image.Resampling.BICUBIC if self.smooth else Image.Resampling.NEAREST)
        x, y = drawing.corner()
        at = (
            round(x + place.x * drawing.side) - box.width // scale // 2,
            round(y + place.y * drawing.side) - box.height // scale // 2,
        )
        if drawing.hollow:
            box = ImageChops.subtract(box, _threshold(box, line, 254))
        elif drawing.edge:
            canvas.paste((*drawing.edge, 255), at, self._reduced(_threshold(box, line, 0), scale))
        canvas.paste((*drawing.rgb, 255), at, self._reduced(box, scale))

    @staticmethod
    def _reduced(mask: Mask, scale: int) -> Mask:
        return mask.reduce(scale) if scale > 1 else mask


def _threshold(mask: Mask, line: int, over: int) -> Mask:
    """Grown by a line (`over` 0) or shrunk by one (254)."""
    return mask.filter(ImageFilter.BoxBlur(line)).point(lambda value: 255 * (value > over))


def drawn(shape: str, side: int) -> Mask:
    """By ImageDraw's own calls."""
    mask = Image.new("L", (side, side), 0)
    pen, last = ImageDraw.Draw(mask), side - 1
    match shape:
        case "circle":
            pen.ellipse((0, 0, last, last), 255)
        case "square":
            pen.rectangle((side // 10, side // 10, last - side // 10, last - side // 10), 255)
        case "triangle":
            pen.regular_polygon((last / 2, side * 0.6, side * 0.55), 3, 0, 255)
        case "star":
            pen.polygon(_star(side / 2, 0.42), 255)
        case "cross":
            third = side // 3
            pen.rectangle((third, 0, last - third, last), 255)
            pen.rectangle((0, third, last, last - third), 255)
        case "heart":
            pen.ellipse((0, side * 0.05, side * 0.52, side * 0.55), 255)
            pen.ellipse((side * 0.48, side * 0.05, last, side * 0.55), 255)
            pen.polygon([(side * 0.05, side * 0.41), (side * 0.95, side * 0.41), (side / 2, side * 0.95)], 255)
            pen.rectangle((side * 0.3, side * 0.3, side * 0.7, side * 0.42), 255)
        case "ring":
            pen.ellipse((0, 0, last, last), None, 255, max(2, side // 6))
        case "moon":
            pen.ellipse((0, 0, last, last), 255)
            pen.ellipse((side * 0.35, -side * 0.05, side * 1.2, side * 0.8), 0)
    return mask


def _star(radius: float, inner: float) -> list[tuple[float, float]]:
    radii = (radius, radius * inner)
    return [
        (radius + radii[step % 2] * sin(step * pi / 5), radius - radii[step % 2] * cos(step * pi / 5))
        for step in range(10)
    ]


def written(shape: str, side: int) -> Mask:
    """A character of DejaVu Sans, which comes with matplotlib."""
    font = _font(side)
    left, top, right, bottom = font.getbbox(_GLYPHS[shape])
    mask = Image.new("L", (round(right - left), round(bottom - top)), 0)
    ImageDraw.Draw(mask).text((-left, -top), _GLYPHS[shape], 255, font)
    return mask


@cache
def _font(side: int) -> ImageFont.FreeTypeFont:
    from matplotlib import get_data_path

    return ImageFont.truetype(f"{get_data_path()}/fonts/ttf/DejaVuSans.ttf", round(side * 1.1))


def _saved(canvas: Image.Image, form: str, quality: int) -> bytes:
    file = io.BytesIO()
    match form:
        case "JPEG":
            canvas.convert("RGB").save(file, form, quality=quality)
        case "WEBP":
            canvas.save(file, form, quality=quality)
        case _:
            canvas.save(file, form)
    return file.getvalue()
