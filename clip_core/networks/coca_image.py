"""The image tower of open_clip's CoCa as its decoder sees it: all tokens of the attentional pooler."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from clip_core.networks import vit


def unsupported(visual: Any) -> str | None:
    """Why `CocaImage` does not compute what open_clip computes; None when it does."""
    if not vit.is_supported(visual) or visual.attn_pool is None:
        return "its image tower is no plain vision transformer with an attentional pooler"
    return None if visual.output_tokens else "its image tower gives no tokens (output_tokens)"


class CocaImage(vit.VisionTower):
    """(B, 3, H, W) uint8 pixels → (B, S, W): what the pooler's queries saw, but for the first one's.

    Source: open_clip.transformer.VisionTransformer with `attentional_pool` and `output_tokens`.
    """

    def forward(self, pixels: Tensor) -> Tensor:
        assert self.pool is not None, "a tower with a pooler has no class token of its own"
        tokens: Tensor = self.pool.visual._pool(self.trunk(pixels))[1]
        return tokens
