"""matplotlib: patches on axes, with ticks and grid or without."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.markers import MarkerStyle
from matplotlib.patches import Circle, Patch, PathPatch, Rectangle, RegularPolygon, Wedge
from matplotlib.path import Path
from matplotlib.transforms import Affine2D

from benchmarks.drawings.drawing import Drawing, Place, Rgb

_DPI = 100


@dataclass(frozen=True)
class MatplotlibPen:
    """`axes`: the figure keeps its axes, as a chart has them."""

    axes: bool

    def draw(self, drawing: Drawing) -> bytes:
        figure = Figure((drawing.width / _DPI, drawing.height / _DPI), _DPI)
        figure.set_facecolor(_colour(drawing.ground) if drawing.ground else "none")
        x, y = drawing.corner()
        axes = figure.add_axes((0.08, 0.08, 0.86, 0.86) if self.axes else (0, 0, 1, 1))
        axes.set_xlim(-x / drawing.side, 1 + x / drawing.side)
        axes.set_ylim(1 + y / drawing.side, -y / drawing.side)
        axes.set_facecolor("none")
        axes.tick_params(labelsize=6)
        axes.set_aspect("equal")
        if not self.axes:
            axes.set_axis_off()
        for place in drawing.places:
            axes.add_patch(_patch(drawing, place, axes.transData))
        file = io.BytesIO()
        FigureCanvasAgg(figure).print_png(file)
        return file.getvalue()


def _patch(drawing: Drawing, place: Place, to_figure: Any) -> Patch:
    colour = _colour(drawing.rgb)
    patch = _OUTLINES[drawing.shape]()
    patch.set_facecolor("none" if drawing.hollow else colour)
    patch.set_edgecolor(colour if drawing.hollow else _colour(drawing.edge) if drawing.edge else "none")
    patch.set_joinstyle("round")
    patch.set_linewidth(drawing.line * 2 * place.half * drawing.side * 72 / _DPI)
    move = Affine2D().rotate_deg(place.turn).scale(place.half).translate(place.x, place.y)
    patch.set_transform(move + to_figure)
    return patch


def _colour(rgb: Rgb) -> tuple[float, ...]:
    return tuple(part / 255 for part in rgb)


def _marker(name: str, half: float) -> Patch:
    """One of scatter plots' own markers; y points down here."""
    style = MarkerStyle(name)
    return PathPatch(
        style.get_transform().transform_path(style.get_path()).transformed(Affine2D().scale(1 / half, -1 / half))
    )


def _heart() -> Patch:
    turn = np.linspace(0, 2 * np.pi, 80)
    x = 16 * np.sin(turn) ** 3
    y = 13 * np.cos(turn) - 5 * np.cos(2 * turn) - 2 * np.cos(3 * turn) - np.cos(4 * turn)
    return PathPatch(Path(np.stack([x / 17, -(y + 2.5) / 17], 1), closed=True))


def _moon() -> Patch:
    outer, inner = np.linspace(0.25 * np.pi, 1.75 * np.pi, 60), np.linspace(1.62 * np.pi, 0.38 * np.pi, 60)
    far = np.stack([np.cos(outer), np.sin(outer)], 1)
    near = np.stack([0.45 + 0.72 * np.cos(inner), 0.75 * np.sin(inner)], 1)
    return PathPatch(Path(np.concatenate([far, near, far[:1]]), closed=True))


_OUTLINES = {
    "circle": lambda: Circle((0, 0), 1),
    "square": lambda: Rectangle((-0.8, -0.8), 1.6, 1.6),
    "triangle": lambda: RegularPolygon((0, 0), 3, radius=1, orientation=np.pi),
    "star": lambda: _marker("*", 1),
    "cross": lambda: _marker("P", 0.5),
    "heart": _heart,
    "ring": lambda: Wedge((0, 0), 1, 0, 360, width=0.3),
    "moon": _moon,
}
