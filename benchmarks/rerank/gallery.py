"""A gallery of drawn scenes as both models see it, and the pictures that a plain search finds for each query."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from PIL import Image
from torch import Tensor

from benchmarks.drawings.demo_model import DemoModel
from benchmarks.rerank.queries import KnownQuery
from clip_core.captions.captioner import Captioner, Memory
from scripts.demo.evaluate import ARCHIVE, SIZES
from scripts.demo.render import render

CAPTIONER = ARCHIVE / "captioner"
_AT_ONCE = 128


@dataclass(frozen=True)
class Gallery:
    """`memories` are what the captioner needs of each picture; `right[i]` the pictures that show query i."""

    queries: list[KnownQuery]
    vectors: Tensor
    memories: list[Memory]
    right: list[frozenset[int]]

    @classmethod
    def drawn(cls, queries: list[KnownQuery], clip: DemoModel, captioner: Captioner) -> Gallery:
        scenes = [scene for query in queries for scene in query.scenes]
        pictures = [render(scene, *SIZES[i % len(SIZES)]) for i, scene in enumerate(scenes)]
        right = [frozenset(i for i, scene in enumerate(scenes) if query.meaning.shown_by(scene)) for query in queries]
        return cls(queries, clip.pictures(pictures), remembered(captioner, pictures), right)

    def found(self, vectors: Tensor, k: int) -> tuple[list[list[int]], list[list[float]]]:
        """Of each query's vector (N, D): the k nearest pictures, the best first, and their cosines."""
        best = (vectors @ self.vectors.T).topk(k, dim=1)
        return best.indices.tolist(), best.values.tolist()


def remembered(captioner: Captioner, pictures: Sequence[Image.Image]) -> list[Memory]:
    memories: list[Memory] = []
    for first in range(0, len(pictures), _AT_ONCE):
        part = pictures[first : first + _AT_ONCE]
        memories += captioner.remember(torch.stack([captioner.transform(each) for each in part]))
    return memories
