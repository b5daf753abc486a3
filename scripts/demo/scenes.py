"""Scenes with words for everything in them: what the demo model learns from and what the demo gallery shows.

A scene is one kind of object (one, two or three of it), or two objects in a relation. Everything comes from a seeded
random generator; the combinations in `HELD_OUT` are never trained on.
"""

from __future__ import annotations

import hashlib
import itertools
from dataclasses import dataclass, replace
from random import Random
from typing import Any

SHAPES = ("circle", "square", "triangle", "star", "heart", "cross", "ring", "moon")
COLORS: dict[str, tuple[int, int, int]] = {
    "red": (214, 40, 40),
    "orange": (245, 134, 24),
    "yellow": (246, 211, 45),
    "lime": (160, 226, 50),
    "green": (26, 128, 60),
    "cyan": (40, 196, 214),
    "blue": (38, 84, 214),
    "purple": (122, 44, 168),
    "pink": (246, 140, 190),
    "brown": (120, 72, 36),
}
TEXTURES = ("plain", "striped", "dotted", "checkered")
SIZES = {"small": 0.15, "large": 0.29}
BACKGROUNDS: dict[str, tuple[int, int, int]] = {
    "white": (250, 250, 250),
    "black": (22, 22, 26),
    "gray": (134, 138, 144),
    "beige": (232, 218, 190),
}
COUNTS = {1: "one", 2: "two", 3: "three"}
OPPOSITE = {"left of": "right of", "right of": "left of", "above": "below", "below": "above"}
RELATIONS = tuple(OPPOSITE)
MEDIUM = 0.17  # radius of each object where there are several, in sides of the central square

Combination = tuple[str, str, str]


def _is_held_out(combination: Combination) -> bool:
    return hashlib.sha256("/".join(combination).encode()).digest()[0] < 28


COMBINATIONS: tuple[Combination, ...] = tuple(itertools.product(SHAPES, COLORS, TEXTURES))
HELD_OUT = frozenset(filter(_is_held_out, COMBINATIONS))
TRAINED = tuple(sorted(set(COMBINATIONS) - HELD_OUT))
UNSEEN = tuple(sorted(HELD_OUT))


@dataclass(frozen=True)
class Object:
    shape: str
    color: str
    texture: str

    @property
    def combination(self) -> Combination:
        return (self.shape, self.color, self.texture)

    def words(self) -> str:
        return f"{self.color} {self.texture} {self.shape}"


@dataclass(frozen=True)
class Scene:
    """`objects`: one kind, `count` times, or two kinds in `relation` (first, relation, second).

    `places`: centres in the central square, (x, y) from 0 to 1, one for each drawn object. `background` is empty where
    its colour has no name here; only sketches have such ones.
    """

    objects: tuple[Object, ...]
    size: str
    count: int
    background: str
    relation: str | None
    places: tuple[tuple[float, float], ...]
    seed: int

    def metadata(self) -> dict[str, Any]:
        first = self.objects[0]
        facts: dict[str, Any] = {
            "shape": first.shape,
            "color": first.color,
            "texture": first.texture,
            "background": self.background,
            "count": self.count,
            "objects": len(self.objects),
            "unseen": any(each.combination in HELD_OUT for each in self.objects),
        }
        if self.relation is None:
            return facts | {"size": self.size}
        second = self.objects[1]
        return facts | {
            "relation": self.relation,
            "other": {"shape": second.shape, "color": second.color, "texture": second.texture},
        }

    def canonical_caption(self) -> str:
        """Everything there is to say, in one fixed form."""
        where = f" on a {self.background} background" if self.background else ""
        if self.relation:
            first, second = (each.words() for each in self.objects)
            return f"{article(first)} {self.relation} {article(second)}{where}"
        words = f"{self.size} {self.objects[0].words()}"
        return f"{article(words)}{where}" if self.count == 1 else f"{COUNTS[self.count]} {plural(words)}{where}"

    def caption(self, rng: Random) -> str:
        """One of many ways to say it, from everything to "blue star"."""
        if rng.random() < 0.3:
            return self.canonical_caption()
        if not self.relation and rng.random() < 0.5:
            return self._short_caption(rng)
        return self._relation_caption(rng) if self.relation else self._simple_caption(rng)

    def _relation_caption(self, rng: Random) -> str:
        first, second = (_phrase(each, "", rng, full=rng.random() < 0.8) for each in self.objects)
        start = rng.choice(("", "a picture of ", "there is "))
        verb = rng.choice(("", "is ")) if not start else ""
        return f"{start}{article(first)} {verb}{self.relation} {article(second)}{self._where(rng)}"

    def _simple_caption(self, rng: Random) -> str:
        words = _phrase(self.objects[0], self.size, rng, full=rng.random() < 0.6)
        start = rng.choice(("", "", "a photo of ", "a picture of ", "there is ", "an image showing "))
        if self.count > 1:
            return f"{start.replace('there is', 'there are')}{COUNTS[self.count]} {plural(words)}{self._where(rng)}"
        bare = not start and rng.random() < 0.4
        return f"{start}{words if bare else article(words)}{self._where(rng)}"

    def _short_caption(self, rng: Random) -> str:
        """A noun with one or two adjectives, as people type into a search box."""
        each = self.objects[0]
        chosen = rng.choice(
            ((each.color,), (each.color,), (each.texture,), (self.size, each.color), (each.color, each.texture))
        )
        words = " ".join([*chosen, each.shape])
        if self.count > 1:
            return rng.choice((plural(words), f"{COUNTS[self.count]} {plural(words)}"))
        return rng.choice((words, article(words)))

    def nearly(self, rng: Random) -> Scene:
        """The same words in a wrong arrangement: the relation reversed, or the two colours swapped."""
        assert self.relation is not None
        if rng.random() < 0.4:
            return replace(self, relation=OPPOSITE[self.relation])
        first, second = self.objects
        return replace(self, objects=(replace(first, color=second.color), replace(second, color=first.color)))

    def _where(self, rng: Random) -> str:
        if not self.background or rng.random() < 0.2:
            return ""
        return rng.choice((" on a {} background", " on {}", " with a {} background")).format(self.background)


def _phrase(each: Object, size: str, rng: Random, *, full: bool) -> str:
    """Adjectives and noun; without `full` an adjective or two may be missing, the noun never."""
    adjectives = [word for word in (size, each.color, each.texture) if word]
    if full and each.texture == "plain" and rng.random() < 0.3:
        adjectives.remove("plain")
    if not full:
        adjectives = [word for word in adjectives if rng.random() < 0.65]
    if rng.random() < 0.25:
        rng.shuffle(adjectives)
    return " ".join([*adjectives, each.shape])


def article(words: str) -> str:
    return f"{'an' if words[0] in 'aeiou' else 'a'} {words}"


def plural(words: str) -> str:
    return words + ("es" if words.endswith("cross") else "s")


def make_scene(rng: Random, combinations: tuple[Combination, ...], kind: str) -> Scene:
    """`kind`: "single" (one object), "several" (two or three alike) or "relation" (two objects)."""
    size, background = rng.choice(tuple(SIZES)), rng.choice(tuple(BACKGROUNDS))
    seed = rng.getrandbits(32)
    first = Object(*rng.choice(combinations))
    if kind == "single":
        return Scene((first,), size, 1, background, None, (_around(rng, 0.5, 0.5, 0.5 - SIZES[size]),), seed)
    if kind == "several":
        count = rng.choice((2, 3))
        return Scene((first,), "small", count, background, None, _row(rng, count), seed)
    second = Object(*rng.choice([c for c in combinations if c[0] != first.shape and c[1] != first.color]))
    relation = rng.choice(RELATIONS)
    return Scene((first, second), "medium", 2, background, relation, _related(rng, relation), seed)


def _around(rng: Random, x: float, y: float, spread: float) -> tuple[float, float]:
    spread *= 0.8
    return x + rng.uniform(-spread, spread), y + rng.uniform(-spread, spread)


def _row(rng: Random, count: int) -> tuple[tuple[float, float], ...]:
    spots = [(0.22, 0.5), (0.78, 0.5)] if count == 2 else [(0.24, 0.3), (0.76, 0.3), (0.5, 0.76)]
    return tuple(_around(rng, x, y, 0.06) for x, y in spots)


def _related(rng: Random, relation: str) -> tuple[tuple[float, float], ...]:
    ends = {"left of": (0.25, 0.5), "right of": (0.75, 0.5), "above": (0.5, 0.25), "below": (0.5, 0.75)}
    x, y = ends[relation]
    return (_around(rng, x, y, 0.07), _around(rng, 1 - x, 1 - y, 0.07))


def radius(scene: Scene) -> float:
    """Radius of each object of `scene`, in sides of the central square."""
    if scene.relation:
        return MEDIUM
    return SIZES[scene.size] if scene.count == 1 else SIZES["small"]
