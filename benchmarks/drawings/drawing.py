"""What a plain drawing shows, whoever draws it: shapes of one kind and colour on a plain ground."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

Rgb = tuple[int, int, int]
SHAPES = ("circle", "square", "triangle", "star", "heart", "cross", "ring", "moon")
PLURALS = {"cross": "crosses"}


@dataclass(frozen=True)
class Place:
    """A shape's centre and half its extent, in sides of the picture's middle square; its turn in degrees."""

    x: float
    y: float
    half: float
    turn: float


@dataclass(frozen=True)
class Drawing:
    """A query, and the drawing that it describes. No `ground`: transparent. `line` is a share of a shape's extent."""

    shape: str
    colour: str
    rgb: Rgb
    places: tuple[Place, ...]
    width: int
    height: int
    ground: Rgb | None
    edge: Rgb | None
    line: float
    hollow: bool
    frame: Rgb | None
    texture: str = ""
    size: str = ""

    @property
    def query(self) -> str:
        """“a red circle”, “two small blue striped stars”."""
        words = [self.size, self.colour, self.texture]
        kind = self.shape if len(self.places) == 1 else PLURALS.get(self.shape, f"{self.shape}s")
        said = " ".join(word for word in [*words, kind] if word)
        return f"two {said}" if len(self.places) == 2 else f"{'an' if said[0] in 'aeiou' else 'a'} {said}"

    @property
    def side(self) -> int:
        """Of the middle square, in pixels: what CLIP sees of a picture."""
        return min(self.width, self.height)

    def corner(self) -> tuple[float, float]:
        """Of the middle square, in pixels."""
        return (self.width - self.side) / 2, (self.height - self.side) / 2


class Pen(Protocol):
    """A library that draws."""

    def draw(self, drawing: Drawing) -> bytes:
        """A picture file."""
        ...
