"""What the captioner learns from: pictures, their attributes, and which object lies where."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

import torch
from PIL import Image
from rich.console import Console
from torch import Tensor
from torch.nn import functional

from scripts.demo.attributes import labels
from scripts.demo.render import render
from scripts.demo.scenes import COLORS, SHAPES, TEXTURES, Object, Scene, radius
from scripts.demo.training_images import RENDER_SIZES, image_pool

SIDE = 64
DRAWN_AT = (*RENDER_SIZES, (160, 120), (120, 160), (320, 240))
REACH = 4  # pixels that a picture may be moved by
NOWHERE = (9.0, 9.0, 0.0, 0, 0, 0)


@dataclass(frozen=True)
class PlacedLessons:
    """`images` (N, 3, 64, 64) uint8; `attributes` (N, heads).

    `discs` (N, 3, 3) are centre and radius of up to three objects in sides of the picture, `kinds` (N, 3, 3) their
    shape, colour and texture.
    """

    scenes: list[Scene]
    images: Tensor
    attributes: Tensor
    discs: Tensor
    kinds: Tensor

    @classmethod
    def of(cls, scenes: list[Scene], seed: int, console: Console, processes: int) -> PlacedLessons:
        rows = torch.tensor([_objects(scene) for scene in scenes])
        images = image_pool(scenes, painted, seed, console, processes)
        return cls(scenes, images, torch.tensor([labels(s) for s in scenes]), rows[:, :, :3], rows[:, :, 3:].long())


def painted(scene: Scene, rng: Random) -> Image.Image:
    """Mostly small, which is quicker, and as large as the gallery shows it at times."""
    return render(scene, *rng.choice(DRAWN_AT))


def _objects(scene: Scene) -> list[tuple[float, ...]]:
    kinds = scene.objects if scene.relation else scene.objects * scene.count
    found = [(x, y, radius(scene), *_parts(each)) for each, (x, y) in zip(kinds, scene.places, strict=True)]
    return [*found, *[NOWHERE] * (3 - len(found))]


def _parts(each: Object) -> tuple[int, int, int]:
    return SHAPES.index(each.shape), list(COLORS).index(each.color), TEXTURES.index(each.texture)


def moved(images: Tensor, rng: Random) -> tuple[Tensor, Tensor]:
    """Each picture moved by up to four pixels each way; → pictures, and the moves (B, 2) in sides of the picture."""
    padded = functional.pad(images.float(), (REACH,) * 4, mode="replicate").to(images.dtype)
    corners = [(rng.randint(0, 2 * REACH), rng.randint(0, 2 * REACH)) for _ in range(len(images))]
    cut = [picture[:, y : y + SIDE, x : x + SIDE] for picture, (x, y) in zip(padded, corners, strict=True)]
    return torch.stack(cut), (REACH - torch.tensor(corners)) / SIDE


def patch_objects(discs: Tensor, moves: Tensor, patches: int) -> tuple[Tensor, Tensor]:
    """Which object covers which patch.

    → (B, patches²) number of the nearest object in `discs`, and (B, patches²) bool: whether the patch lies on it.
    """
    line = (torch.arange(patches) + 0.5) / patches
    spots = torch.stack(torch.meshgrid(line, line, indexing="xy"), dim=-1).reshape(1, -1, 1, 2)
    away = (spots - (discs[:, None, :, :2] + moves[:, None, None])).norm(dim=-1)  # (B, patches², 3)
    nearest = away.argmin(dim=-1)
    inside = away.gather(2, nearest[..., None])[..., 0] < discs[:, :, 2].gather(1, nearest)
    return nearest, inside
