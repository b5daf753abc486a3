"""Sets of twelve drawings, each with a query that no other of its set answers. A seed always draws the same set."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import product
from typing import TypeVar

import numpy as np

from benchmarks.drawings.drawing import SHAPES, Drawing, Place, Rgb
from benchmarks.drawings.palettes import GROUNDS, LINES, PALETTES

T = TypeVar("T")
SIZE, TWOS, WORDED = 12, 3, 6
_TURNS = {"circle": 0, "square": 15, "triangle": 30, "star": 36, "heart": 20, "cross": 15, "ring": 0, "moon": 45}
_MAY_BE_HOLLOW = ("square", "triangle", "star", "heart")  # a hollow circle is a ring
_LINES, _HOLLOW_LINES = (0.01, 0.06), (0.05, 0.1)
_APART = 110  # between a shape's colour and its ground, in RGB


def plain_set(seed: int, shapes: tuple[str, ...] = SHAPES) -> list[Drawing]:
    """Nine single shapes and three pairs of them, flat, told apart by shape, colour and number."""
    draw = np.random.default_rng(seed)
    palette = PALETTES[str(draw.choice(sorted(PALETTES)))]
    kinds = _some(draw, shapes, 4)
    colours = _some(draw, tuple(palette), 5)
    counted = list(product(kinds, colours, (1,))), list(product(kinds, colours, (2,)))
    chosen = [*_some_of(draw, counted[0], SIZE - TWOS), *_some_of(draw, counted[1], TWOS)]
    return [_drawing(draw, shape, colour, palette[colour], count) for shape, colour, count in chosen]


def worded_set(seed: int, shapes: tuple[str, ...] = SHAPES) -> list[Drawing]:
    """Six drawings and a twin of each that differs in its texture or its size only, as its query says."""
    draw = np.random.default_rng(seed)
    palette = PALETTES[str(draw.choice(sorted(PALETTES)))]
    chosen = _some_of(draw, list(product(_some(draw, shapes, 4), _some(draw, tuple(palette), 5))), WORDED)
    return [twin for shape, colour in chosen for twin in _twins(draw, shape, colour, palette[colour])]


def _twins(draw: np.random.Generator, shape: str, colour: str, rgb: Rgb) -> Iterator[Drawing]:
    one = replace(_drawing(draw, shape, colour, rgb, 1), hollow=False)
    if draw.random() < 0.5:
        yield _sized(one, "small", 0.13)
        yield _sized(one, "large", 0.36)
    else:
        middle = replace(one, places=(replace(one.places[0], x=0.5, y=0.5, half=0.36),))
        yield middle
        yield replace(middle, texture=str(draw.choice(["striped", "dotted", "checkered"])))


def _sized(one: Drawing, size: str, half: float) -> Drawing:
    return replace(one, size=size, places=(replace(one.places[0], x=0.5, y=0.5, half=half),))


def _drawing(draw: np.random.Generator, shape: str, colour: str, rgb: Rgb, count: int) -> Drawing:
    width, height = _canvas(draw)
    ground = _ground(draw, rgb)
    hollow = shape in _MAY_BE_HOLLOW and draw.random() < 0.1
    return Drawing(
        shape=shape,
        colour=colour,
        rgb=rgb,
        places=_places(draw, shape, count),
        width=width,
        height=height,
        ground=ground,
        edge=LINES[draw.integers(len(LINES))] if draw.random() < 0.3 else None,
        line=float(draw.uniform(*(_HOLLOW_LINES if hollow else _LINES))),
        hollow=hollow,
        frame=LINES[draw.integers(len(LINES))] if draw.random() < 0.2 else None,
    )


def _canvas(draw: np.random.Generator) -> tuple[int, int]:
    """Half of them square, the others up to twice as wide or as high."""
    side = round(float(np.exp(draw.uniform(np.log(64), np.log(640)))))
    longer = side if draw.random() < 0.5 else round(side * float(draw.uniform(1.1, 2)))
    return (side, longer) if draw.random() < 0.5 else (longer, side)


def _ground(draw: np.random.Generator, rgb: Rgb) -> Rgb | None:
    """None: transparent, which decoders make black or white."""
    far = [each for each in GROUNDS if np.linalg.norm(np.subtract(each, rgb)) > _APART]
    if draw.random() < 0.12 and (0, 0, 0) in far and (255, 255, 255) in far:
        return None
    return far[draw.integers(len(far))]


def _places(draw: np.random.Generator, shape: str, count: int) -> tuple[Place, ...]:
    if count == 1:
        half = float(draw.uniform(0.15, 0.45))
        x, y = draw.uniform(half + 0.02, 0.98 - half, 2)
        return (Place(float(x), float(y), half, _turn(draw, shape)),)
    angle, half = draw.uniform(0, np.pi), float(draw.uniform(0.1, 0.2))
    x, y = 0.25 * np.cos(angle), 0.25 * np.sin(angle)
    return tuple(Place(0.5 + sign * x, 0.5 + sign * y, half, _turn(draw, shape)) for sign in (-1, 1))


def _turn(draw: np.random.Generator, shape: str) -> float:
    return 0.0 if draw.random() < 0.5 else float(draw.uniform(-1, 1) * _TURNS[shape])


def _some(draw: np.random.Generator, names: tuple[str, ...], least: int) -> list[str]:
    """At least so many of them."""
    return _some_of(draw, names, int(draw.integers(least, len(names) + 1)))


def _some_of(draw: np.random.Generator, things: Sequence[T], count: int) -> list[T]:
    return [things[place] for place in draw.permutation(len(things))[:count]]
