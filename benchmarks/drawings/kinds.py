"""The kinds of sets: which library draws, and what."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from benchmarks.drawings.drawing import SHAPES, Drawing, Pen
from benchmarks.drawings.matplotlib_pen import MatplotlibPen
from benchmarks.drawings.pillow_pen import PillowPen, drawn, written
from benchmarks.drawings.sets import plain_set, worded_set
from benchmarks.drawings.svg_pen import SvgPen
from scripts.page.browser import chromium

GLYPHS = tuple(shape for shape in SHAPES if shape not in ("ring", "moon"))  # fonts have them as thin lines only
SETS = 8  # of each kind


@dataclass(frozen=True)
class Kind:
    """A library and the sets that it draws; `make` draws one by its seed."""

    name: str
    pen: Pen
    make: Callable[[int], list[Drawing]] = plain_set

    def draw(self, seed: int) -> tuple[list[str], list[bytes]]:
        """The queries of one set, and their pictures in the same order."""
        drawings = self.make(seed)
        return [each.query for each in drawings], [self.pen.draw(each) for each in drawings]


def seeds(place: int) -> range:
    """Of the sets of the kind at this place: no two kinds draw the same."""
    return range(place * SETS, (place + 1) * SETS)


def _glyph_set(seed: int) -> list[Drawing]:
    return plain_set(seed, GLYPHS)


BY_PYTHON = (
    Kind("pillow, hard edges, PNG", PillowPen(drawn, smooth=False, format="PNG")),
    Kind("pillow, hard edges, GIF", PillowPen(drawn, smooth=False, format="GIF")),
    Kind("pillow, smooth, JPEG", PillowPen(drawn, smooth=True, format="JPEG", quality=40)),
    Kind("characters, smooth, WebP", PillowPen(written, smooth=True, format="WEBP"), _glyph_set),
    Kind("characters, hard edges, JPEG", PillowPen(written, smooth=False, format="JPEG", quality=75), _glyph_set),
    Kind("matplotlib", MatplotlibPen(axes=False)),
    Kind("matplotlib, with axes", MatplotlibPen(axes=True)),
)


@contextmanager
def kinds() -> Iterator[list[Kind]]:
    """All of them. Raises NoBrowser where there is no Chromium."""
    with chromium() as browser:
        pen = SvgPen(browser.new_page())
        yield [*BY_PYTHON, Kind("Chromium, SVG", pen), Kind("Chromium, SVG, sizes and textures", pen, worded_set)]
