"""SVG elements and CSS, drawn by a headless Chromium."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.drawings.drawing import Drawing, Place, Rgb

if TYPE_CHECKING:
    from playwright.sync_api import Page

_ELEMENTS = {
    "circle": '<circle r="1"/>',
    "square": '<rect x="-0.85" y="-0.85" width="1.7" height="1.7"/>',
    "triangle": '<polygon points="0,-0.9 0.95,0.8 -0.95,0.8"/>',
    "star": '<polygon points="0,-1 0.25,-0.31 0.95,-0.31 0.38,0.1 0.59,0.81 0,0.4 '
    '-0.59,0.81 -0.38,0.1 -0.95,-0.31 -0.25,-0.31"/>',
    "heart": '<path d="M0,0.9 C-1.6,-0.2 -0.8,-1.3 0,-0.5 C0.8,-1.3 1.6,-0.2 0,0.9 Z"/>',
    "cross": '<path d="M-0.3,-1 h0.6 v0.7 h0.7 v0.6 h-0.7 v0.7 h-0.6 v-0.7 h-0.7 v-0.6 h0.7 Z"/>',
    "ring": '<path fill-rule="evenodd" d="M1,0 A1,1 0 1 1 -1,0 A1,1 0 1 1 1,0 Z '
    'M0.6,0 A0.6,0.6 0 1 1 -0.6,0 A0.6,0.6 0 1 1 0.6,0 Z"/>',
    "moon": '<path d="M0.3,-0.95 A1,1 0 1 0 0.3,0.95 A0.8,0.95 0 0 1 0.3,-0.95 Z"/>',
}
_TILES = {
    "striped": '<rect width="20" height="40" fill="{light}"/><rect x="20" width="20" height="40" fill="{dark}"/>',
    "dotted": '<rect width="40" height="40" fill="{light}"/><circle cx="20" cy="20" r="11" fill="{dark}"/>',
    "checkered": '<rect width="40" height="40" fill="{light}"/><rect width="20" height="20" fill="{dark}"/>'
    '<rect x="20" y="20" width="20" height="20" fill="{dark}"/>',
}


@dataclass(frozen=True)
class SvgPen:
    """On a page that is the pen's own."""

    page: Page

    def draw(self, drawing: Drawing) -> bytes:
        self.page.set_viewport_size({"width": drawing.width, "height": drawing.height})
        self.page.set_content(f'<body style="margin:0;background:transparent">{markup(drawing)}</body>')
        return self.page.screenshot(omit_background=drawing.ground is None)


def markup(drawing: Drawing) -> str:
    x, y = drawing.corner()
    ground = f"background:{_hex(drawing.ground)};" if drawing.ground else ""
    border = max(1, round(drawing.line * drawing.side))
    frame = f"outline:{border}px solid {_hex(drawing.frame)};outline-offset:-{border * 2}px;" if drawing.frame else ""
    shapes = "".join(_shape(drawing, place) for place in drawing.places)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{drawing.width}" height="{drawing.height}" '
        f'style="display:block;{ground}{frame}">{_pattern(drawing)}'
        f'<g transform="translate({x},{y}) scale({drawing.side})" {_paint(drawing)}>{shapes}</g></svg>'
    )


def _shape(drawing: Drawing, place: Place) -> str:
    return (
        f'<g transform="translate({place.x},{place.y}) rotate({place.turn}) scale({place.half})">'
        f"{_ELEMENTS[drawing.shape]}</g>"
    )


def _paint(drawing: Drawing) -> str:
    width = f'stroke-width="{2 * drawing.line}" stroke-linejoin="round"'
    if drawing.hollow:
        return f'fill="none" stroke="{_hex(drawing.rgb)}" {width}'
    fill = "url(#tile)" if drawing.texture in _TILES else _hex(drawing.rgb)
    return f'fill="{fill}"' + (f' stroke="{_hex(drawing.edge)}" {width}' if drawing.edge else "")


def _pattern(drawing: Drawing) -> str:
    """Tiles eight to an extent, of the colour and a darker one."""
    if drawing.texture not in _TILES:
        return ""
    dark: Rgb = (drawing.rgb[0] // 3, drawing.rgb[1] // 3, drawing.rgb[2] // 3)
    tile = _TILES[drawing.texture].format(light=_hex(drawing.rgb), dark=_hex(dark))
    turn = "rotate(45)" if drawing.texture == "striped" else ""
    size = f'width="40" height="40" patternUnits="userSpaceOnUse" patternTransform="scale(0.0125) {turn}"'
    return f'<defs><pattern id="tile" {size}>{tile}</pattern></defs>'


def _hex(rgb: Rgb) -> str:
    return f"#{bytes(rgb).hex()}"
