"""The demo model as any user of open_clip has it."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from scripts.demo.evaluate import ARCHIVE

_AT_ONCE = 128


@dataclass(frozen=True)
class DemoModel:
    """Texts and pictures → unit vectors (N, D)."""

    model: Any
    transform: Any
    tokenizer: Any

    @classmethod
    def load(cls, directory: Path = ARCHIVE) -> DemoModel:
        import open_clip

        name = f"local-dir:{directory}"
        model, _, transform = open_clip.create_model_and_transforms(name)
        return cls(model.eval(), transform, open_clip.get_tokenizer(name))

    @torch.inference_mode()
    def texts(self, texts: Sequence[str]) -> Tensor:
        parts = [list(texts[first : first + _AT_ONCE]) for first in range(0, len(texts), _AT_ONCE)]
        return torch.cat([self.model.encode_text(self.tokenizer(part), normalize=True) for part in parts])

    @torch.inference_mode()
    def pictures(self, pictures: Sequence[Image.Image]) -> Tensor:
        parts = [pictures[first : first + _AT_ONCE] for first in range(0, len(pictures), _AT_ONCE)]
        pixels = (torch.stack([self.transform(each) for each in part]) for part in parts)
        return torch.cat([self.model.encode_image(part, normalize=True) for part in pixels])

    def right(self, queries: list[str], files: list[bytes]) -> int:
        """How many queries find their own picture first; both are in the same order."""
        pictures = self.pictures([Image.open(io.BytesIO(file)) for file in files])
        best = (self.texts(queries) @ pictures.T).argmax(dim=1)
        return int((best == torch.arange(len(queries))).sum())
