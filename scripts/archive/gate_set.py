"""The pictures and captions that a precision is judged on before an archive may use it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from clip_core.errors import BadModel
from clip_core.inputs.images import decode

PAIRS = 96
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")


@dataclass(frozen=True)
class GateSet:
    """Caption i describes picture i."""

    images: list[Image.Image]
    captions: list[str]

    @classmethod
    def rendered(cls, pairs: int = PAIRS, seed: int = 301) -> GateSet:
        """Scenes as the demo model was trained on: there without a network, and mild for a model of the real world."""
        from scripts.demo.evaluate import SIZES, distinct_scenes
        from scripts.demo.render import render
        from scripts.demo.scenes import UNSEEN

        scenes = distinct_scenes("single", UNSEEN, seed, pairs)
        images = [render(scene, *SIZES[i % len(SIZES)]) for i, scene in enumerate(scenes)]
        return cls(images, [scene.canonical_caption() for scene in scenes])

    @classmethod
    def from_directory(cls, directory: Path) -> GateSet:
        """Pictures with their captions in text files of the same name. Raises BadModel."""
        paths = sorted(
            p for p in directory.iterdir() if p.suffix.lower() in SUFFIXES and p.with_suffix(".txt").exists()
        )
        if len(paths) < 11:
            raise BadModel(
                f"{directory} holds {len(paths)} pictures with a caption beside them (a.jpg, a.txt); 11 is least"
            )
        captions = [path.with_suffix(".txt").read_text(encoding="utf-8").strip() for path in paths]
        return cls([decode(path.read_bytes()) for path in paths], captions)


@dataclass(frozen=True)
class Quality:
    """Smallest cosine to open_clip in fp32 by modality, and recall of pictures by their captions."""

    image_cosine: float
    text_cosine: float
    recall_at_10: float
    recall_at_1: float

    @property
    def cosine(self) -> float:
        return min(self.image_cosine, self.text_cosine)


def quality(images: Tensor, texts: Tensor, reference_images: Tensor, reference_texts: Tensor) -> Quality:
    """Each (N, D) float32, of any norm; row i of each belongs to pair i."""
    return Quality(
        _least_cosine(images, reference_images),
        _least_cosine(texts, reference_texts),
        recall_at(10, images, texts),
        recall_at(1, images, texts),
    )


def recall_at(k: int, images: Tensor, texts: Tensor) -> float:
    """The share of captions whose own picture is among the `k` nearest."""
    scores = functional.normalize(texts, dim=-1) @ functional.normalize(images, dim=-1).T
    own = scores.diagonal()[:, None]
    return float(((scores > own).sum(dim=1) < k).float().mean())


def _least_cosine(one: Tensor, other: Tensor) -> float:
    cosines = functional.cosine_similarity(one.double(), other.double())
    return float(cosines.min()) if bool(torch.isfinite(cosines).all()) else -1.0
