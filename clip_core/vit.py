"""The image tower of open_clip's VisionTransformer, by our own blocks."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from clip_core.transformer import Block, LastBlock, is_plain, linear


def is_supported(visual: Any) -> bool:
    """Whether `VisionTower` computes what this tower computes; decided by looking at what was built."""
    from open_clip.transformer import VisionTransformer

    return type(visual) is VisionTransformer and is_plain(visual.transformer) and visual.proj is not None


class VisionTower(nn.Module):
    """(B, 3, H, W) normalised pixels → (B, D); source: open_clip.transformer.VisionTransformer."""

    def __init__(self, visual: Any) -> None:
        super().__init__()
        self.patch_size: tuple[int, int] = visual.patch_size
        self.image_size: tuple[int, int] = visual.image_size
        self.patches = linear(visual.conv1.weight.flatten(1), None)
        self.class_embedding, self.positional_embedding = visual.class_embedding, visual.positional_embedding
        self.ln_pre, self.ln_post, self.proj = visual.ln_pre, visual.ln_post, visual.proj
        *first, last = visual.transformer.resblocks
        only_class_token = visual.attn_pool is None and visual.pool_type == "tok"
        self.last = LastBlock(last) if only_class_token else None
        self.blocks = nn.ModuleList(map(Block, first if only_class_token else [*first, last]))
        self.pool = None if only_class_token else _Pool(visual)

    def forward(self, pixels: Tensor) -> Tensor:
        x = self.patches(_unfold(pixels, *self.patch_size))
        x = torch.cat([self.class_embedding.expand(x.shape[0], 1, -1), x], dim=1) + self.positional_embedding
        x = self.ln_pre(x)
        for block in self.blocks:
            x = block(x, causal=False)
        pooled = self.ln_post(self.last(x, None)) if self.last is not None else self._pooled(x)
        projected: Tensor = pooled @ self.proj
        return projected

    def _pooled(self, x: Tensor) -> Tensor:
        assert self.pool is not None
        pooled: Tensor = self.pool(x)
        return pooled


class _Pool(nn.Module):
    """Average and attention pooling, done by open_clip's own few lines."""

    def __init__(self, visual: Any) -> None:
        super().__init__()
        self.visual = visual
        visual.transformer, visual.conv1 = nn.Identity(), nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        pooled: Tensor = self.visual._pool(x)[0]
        return pooled


def _unfold(pixels: Tensor, height: int, width: int) -> Tensor:
    """(B, C, H, W) → (B, patches, C·height·width), in the order of a convolution's weights."""
    batch, channels = pixels.shape[:2]
    rows, columns = pixels.shape[2] // height, pixels.shape[3] // width
    cut = pixels[:, :, : rows * height, : columns * width]
    grid = cut.reshape(batch, channels, rows, height, columns, width)
    return grid.permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2)
