"""A gallery of drawn scenes as both models see it, and the pictures that a plain search finds for each query."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from benchmarks.rerank.queries import KnownQuery
from clip_core.captions.captioner import Captioner, Memory
from scripts.demo.evaluate import ARCHIVE, SIZES
from scripts.demo.render import render

CAPTIONER = ARCHIVE / "captioner"
_AT_ONCE = 128


class Clip:
    """The demo's CLIP, as open_clip runs it."""

    def __init__(self, folder: Path = ARCHIVE) -> None:
        import open_clip

        self._model: Any
        self._model, _, self._transform = open_clip.create_model_and_transforms(f"local-dir:{folder}")
        self._tokenizer: Any = open_clip.get_tokenizer(f"local-dir:{folder}")
        self._model.eval()

    @torch.inference_mode()
    def pictures(self, pictures: Sequence[Image.Image]) -> Tensor:
        """(N, D), of unit norm"""
        parts = [pictures[first : first + _AT_ONCE] for first in range(0, len(pictures), _AT_ONCE)]
        pixels = (torch.stack([self._transform(each) for each in part]) for part in parts)
        return torch.cat([self._model.encode_image(part, normalize=True) for part in pixels])

    @torch.inference_mode()
    def texts(self, texts: Sequence[str]) -> Tensor:
        """(N, D), of unit norm"""
        parts = [list(texts[first : first + _AT_ONCE]) for first in range(0, len(texts), _AT_ONCE)]
        return torch.cat([self._model.encode_text(self._tokenizer(part), normalize=True) for part in parts])


@dataclass(frozen=True)
class Gallery:
    """`memories` are what the captioner needs of each picture; `right[i]` the pictures that show query i."""

    queries: list[KnownQuery]
    vectors: Tensor
    memories: list[Memory]
    right: list[frozenset[int]]

    @classmethod
    def drawn(cls, queries: list[KnownQuery], clip: Clip, captioner: Captioner) -> Gallery:
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
