"""The demo model as any user of open_clip has it."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor


@dataclass(frozen=True)
class DemoModel:
    """Texts and picture files → unit vectors (N, D)."""

    model: Any
    transform: Any
    tokenizer: Any

    @classmethod
    def load(cls, directory: Path) -> DemoModel:
        import open_clip

        name = f"local-dir:{directory}"
        model, _, transform = open_clip.create_model_and_transforms(name)
        return cls(model.eval(), transform, open_clip.get_tokenizer(name))

    @torch.inference_mode()
    def texts(self, texts: list[str]) -> Tensor:
        vectors: Tensor = self.model.encode_text(self.tokenizer(texts), normalize=True)
        return vectors

    @torch.inference_mode()
    def pictures(self, files: list[bytes]) -> Tensor:
        images = torch.stack([self.transform(Image.open(io.BytesIO(file))) for file in files])
        vectors: Tensor = self.model.encode_image(images, normalize=True)
        return vectors

    def right(self, queries: list[str], files: list[bytes]) -> int:
        """How many queries find their own picture first; both are in the same order."""
        best = (self.texts(queries) @ self.pictures(files).T).argmax(dim=1)
        return int((best == torch.arange(len(queries))).sum())
