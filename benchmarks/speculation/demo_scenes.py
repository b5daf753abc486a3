"""The demo's gallery as a collection with captions, and pictures that are not in it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from random import Random

import numpy as np
import open_clip
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from clip_core.inputs.preprocessing import Preprocessing
from clip_core.networks.modules import image_module
from scripts.demo.render import render
from scripts.demo.render_gallery import KINDS, SHARES, SIZES, gallery_scenes
from scripts.demo.scenes import UNSEEN, Scene, make_scene

FOLDER = Path(__file__).resolve().parents[2] / "archive" / "demo"
NEIGHBOURS = 16
_SEED = 77
_AT_ONCE = 64
Vectors = NDArray[np.float32]


class CaptionGallery:
    """The demo's collection, searched exactly, in this process, by vectors of the demo's CLIP."""

    def __init__(self) -> None:
        model = open_clip.create_model(f"local-dir:{FOLDER}").eval()
        preprocessing = Preprocessing.of_model(model)
        self._tower = image_module(model, preprocessing.mean, preprocessing.std).eval()
        self._pixels = preprocessing.uint8
        scenes = gallery_scenes()
        self.captions = [scene.canonical_caption() for scene in scenes]
        parts = torch.split(self.transform(_rendered(scenes)), _AT_ONCE)
        self._vectors = np.concatenate([self._encode(part) for part in parts])
        self._chance = Random(_SEED)

    def transform(self, pictures: Sequence[Image.Image]) -> Tensor:
        """→ (B, 3, H, W) uint8"""
        return torch.stack([self._pixels(picture) for picture in pictures])

    def near(self, pixels: Tensor) -> list[list[str]]:
        """(B, 3, H, W) uint8 → the captions of the neighbours of each, the nearest first."""
        scores = self._encode(pixels) @ self._vectors.T
        nearest = np.argsort(-scores, axis=1)[:, :NEIGHBOURS]
        return [[self.captions[row] for row in rows] for rows in nearest.tolist()]

    def any(self) -> list[str]:
        """As many captions, by chance."""
        return self._chance.sample(self.captions, NEIGHBOURS)

    @torch.inference_mode()
    def _encode(self, pixels: Tensor) -> Vectors:
        vectors = torch.nn.functional.normalize(self._tower(pixels).float(), dim=-1).numpy()
        found: Vectors = vectors
        return found


def unseen(count: int) -> list[Image.Image]:
    """Pictures of combinations that no training showed, in the gallery's shares and sizes."""
    random = Random(_SEED)
    return _rendered([make_scene(random, UNSEEN, random.choices(KINDS, SHARES)[0]) for _ in range(count)])


def _rendered(scenes: Sequence[Scene]) -> list[Image.Image]:
    return [render(scene, *SIZES[number % len(SIZES)]) for number, scene in enumerate(scenes)]
