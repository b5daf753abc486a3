"""The image tower of open_clip's VisionTransformer, by our own blocks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from clip_core.networks.plain_clip import PlainVision
from clip_core.networks.transformer import LastTransformerBlock, TransformerBlock, is_plain, linear


def is_supported(visual: Any) -> bool:
    """Whether `VisionTower` computes what this tower computes; decided by looking at what was built."""
    if isinstance(visual, PlainVision):
        return True
    from open_clip.transformer import VisionTransformer

    return type(visual) is VisionTransformer and is_plain(visual.transformer) and visual.proj is not None


class VisionTower(nn.Module):
    """(B, 3, H, W) uint8 pixels → (B, D); source: open_clip.transformer.VisionTransformer.

    The normalisation is folded into the patch embedding, where 8-bit pixels are exact in bfloat16 too.
    """

    def __init__(self, visual: Any, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.patch_size: tuple[int, int] = visual.patch_size
        self.patches = _folded(visual.conv1.weight, torch.tensor(mean), torch.tensor(std))
        self.class_embedding, self.positional_embedding = visual.class_embedding, visual.positional_embedding
        self.ln_pre, self.ln_post, self.proj = visual.ln_pre, visual.ln_post, visual.proj
        *first, last = visual.transformer.resblocks
        only_class_token = visual.attn_pool is None and visual.pool_type == "tok"
        self.last = LastTransformerBlock(last) if only_class_token else None
        self.blocks = nn.ModuleList(map(TransformerBlock, first if only_class_token else [*first, last]))
        self.pool = None if only_class_token else _Pool(visual)

    def forward(self, pixels: Tensor) -> Tensor:
        x = self.trunk(pixels)
        pooled = self.ln_post(self.last(x, None)) if self.last is not None else self._pooled(x)
        projected: Tensor = pooled @ self.proj
        return projected

    def trunk(self, pixels: Tensor) -> Tensor:
        """→ (B, 1 + patches, W): after all blocks but one that computes the class token alone."""
        x: Tensor = self.patches(_unfold(pixels, *self.patch_size).to(self.patches.weight.dtype)).to(self.proj.dtype)
        x = torch.cat([self.class_embedding.expand(x.shape[0], 1, -1), x], dim=1) + self.positional_embedding
        x = self.ln_pre(x)
        for block in self.blocks:
            x = block(x, causal=False)
        return x

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


def _folded(weight: Tensor, mean: Tensor, std: Tensor) -> nn.Linear:
    """The patch embedding's (W, 3, h, w) weights for pixels from 0 to 255 instead of (pixel / 255 - mean) / std."""
    exact = weight.detach().double() / std.double().view(1, 3, 1, 1)
    shift = -(exact * mean.double().view(1, 3, 1, 1)).flatten(1).sum(dim=1)
    return linear((exact / 255).flatten(1).float(), shift.float())


def _unfold(pixels: Tensor, height: int, width: int) -> Tensor:
    """(B, C, H, W) → (B, patches, C·height·width), in the order of a convolution's weights."""
    batch, channels = pixels.shape[:2]
    rows, columns = pixels.shape[2] // height, pixels.shape[3] // width
    cut = pixels[:, :, : rows * height, : columns * width]
    grid = cut.reshape(batch, channels, rows, height, columns, width)
    return grid.permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2)
