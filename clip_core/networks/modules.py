"""Which forward pass a model gets: decided by looking at what open_clip built, never by its name.

Our own blocks for plain vision transformers and causal text towers, open_clip's own modules for everything else.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from clip_core.networks import causal_text, vit


class OpenClipText(nn.Module):
    """(B, L) int64 token ids → (B, D): any text tower, by open_clip itself."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, ids: Tensor) -> Tensor:
        features: Tensor = self.model.encode_text(ids)
        return features


class OpenClipImage(nn.Module):
    """(B, 3, H, W) uint8 pixels → (B, D): any image tower, by open_clip itself, behind its normalisation."""

    mean: Tensor
    std: Tensor

    def __init__(self, model: Any, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.model = model
        self.register_buffer("mean", torch.tensor(mean).view(3, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(3, 1, 1))

    def forward(self, pixels: Tensor) -> Tensor:
        normal = (pixels.float() / 255 - self.mean.float()) / self.std.float()
        features: Tensor = self.model.encode_image(normal.to(self.mean.dtype))
        return features


def text_module(model: Any) -> nn.Module:
    """Our own forward pass where it computes the same, else open_clip's."""
    tower = causal_text.find_supported(model)
    return OpenClipText(model) if tower is None else causal_text.CausalTextTower(tower)


def image_module(model: Any, mean: Sequence[float], std: Sequence[float]) -> nn.Module:
    """Our own forward pass where it computes the same, else open_clip's; `mean` and `std` of pixels in [0, 1]."""
    if vit.is_supported(model.visual):
        return vit.VisionTower(model.visual, mean, std)
    return OpenClipImage(model, mean, std)
