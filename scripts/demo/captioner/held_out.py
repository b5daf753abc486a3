"""Combinations that training never shows are no evidence against them: its losses leave them out.

Of red dotted things the scenes to learn from show, say, no star. A network that tells red and dotted early then learns
"never a star" before it learns what a star looks like, and says it of the scenes that it is tested on. So where a loss
compares the true word with the others, it leaves out those that would make a held-out combination.
"""

from __future__ import annotations

import itertools

import torch
from torch import Tensor

from scripts.demo.claims import singular
from scripts.demo.scenes import COLORS, HELD_OUT, RELATIONS, SHAPES, TEXTURES, Combination, Scene, plural

NAMES: tuple[tuple[str, ...], ...] = (SHAPES, tuple(COLORS), TEXTURES)
Words = dict[str, list[int]]


def left_out() -> Tensor:
    """(shapes, colours, textures) bool: the held-out combinations."""
    every = [combination in HELD_OUT for combination in itertools.product(*NAMES)]
    return torch.tensor(every).reshape([len(names) for names in NAMES])


def others_left_out(parts: Tensor, table: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Class numbers of shape, colour and texture (..., 3) → for each of the three, which classes to leave out."""
    shape, color, texture = parts.clamp(min=0).unbind(-1)
    return table[:, color, texture].movedim(0, -1), table[shape, :, texture], table[shape, color, :]


def words_left_out(caption: str, scene: Scene, words: Words) -> list[tuple[int, int]]:
    """(place, id): what the token at this place, the first being 0, could have been only in a held-out combination."""
    relation = next((each for each in RELATIONS if f" {each} " in caption), None)
    second = caption.index(f" {relation} ") if relation else len(caption)
    found, place, at = [], 0, 0
    for word in caption.split():
        each = scene.objects[int(at > second)]
        found += [(place, words[other][0]) for other in _others(word, each.combination)]
        place, at = place + len(words[word]), at + len(word) + 1
    return found


def _others(word: str, combination: Combination) -> list[str]:
    """What could stand for `word` only in a held-out combination."""
    kind = next((i for i, names in enumerate(NAMES) if singular(word) in names), None)
    if kind is None:
        return []
    others = [name for name in NAMES[kind] if (*combination[:kind], name, *combination[kind + 1 :]) in HELD_OUT]
    return [plural(name) for name in others] if singular(word) != word else others
