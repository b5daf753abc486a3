"""What a caption claims, and which scenes it is true of: so that training counts no true pair as a false one."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from scripts.demo.scenes import BACKGROUNDS, COLORS, COUNTS, SHAPES, SIZES, TEXTURES, Object, Scene

UNSAID = -1
WORDS = (SHAPES, tuple(COLORS), TEXTURES, tuple(SIZES), tuple(BACKGROUNDS), tuple(COUNTS.values()))


def claims(caption: str) -> list[int]:
    """Shape, colour, texture, size, background and count as class numbers; UNSAID for what is left open."""
    said = [singular(word) for word in caption.split()]
    found = [next((names.index(word) for word in said if word in names), UNSAID) for names in WORDS]
    if found[5] == UNSAID and said == caption.split():
        found[5] = 0  # a noun in the singular: one of them
    return found


def singular(word: str) -> str:
    for ending in ("es", "s"):
        if word.endswith(ending) and word.removesuffix(ending) in SHAPES:
            return word.removesuffix(ending)
    return word


def facts(scene: Scene, each: Object) -> list[int]:
    """The same six of one kind of object in a scene; a size, count or background without a name is no class."""
    size = list(SIZES).index(scene.size) if scene.size in SIZES else len(SIZES)
    background = list(BACKGROUNDS).index(scene.background) if scene.background else len(BACKGROUNDS)
    count = 0 if scene.relation else scene.count - 1
    names = (SHAPES.index(each.shape), list(COLORS).index(each.color), TEXTURES.index(each.texture))
    return [*names, size, background, count]


def true_of(scenes: Sequence[Scene], captions: Sequence[str]) -> Tensor:
    """(scenes, captions) bool: whether the caption is true of the scene; of relations only each scene's own is."""
    said = torch.tensor([claims(caption) for caption in captions])
    kinds = [torch.tensor([facts(scene, scene.objects[i % len(scene.objects)]) for scene in scenes]) for i in (0, 1)]
    fits = [((said[None] == UNSAID) | (said[None] == kind[:, None])).all(dim=2) for kind in kinds]
    plain = torch.tensor([scene.relation is None for scene in scenes])
    return ((fits[0] | fits[1]) & plain[None]) | torch.eye(len(scenes), dtype=torch.bool)
