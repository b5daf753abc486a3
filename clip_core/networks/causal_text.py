"""The causal text tower of open_clip's CLIP, by our own blocks, no longer than the batch's longest text.

What follows the end of a text cannot reach it through a causal mask, so a batch is cut to its longest text: the same
mathematics. Lengths are rounded up to a few buckets, so that compiled shapes stay few.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from clip_core.networks.transformer import LastTransformerBlock, TransformerBlock, is_plain

BUCKETS = (8, 12, 16, 24, 32, 48, 64)


@dataclass(frozen=True)
class EndOfText:
    """Where a text ends: at the first `eos_id`, or, as OpenAI's CLIP does it, at its largest id."""

    eos_id: int | None = None

    def find(self, ids: Tensor) -> Tensor:
        """(B, L) → (B,) int64"""
        return ids.argmax(dim=-1) if self.eos_id is None else (ids == self.eos_id).int().argmax(dim=-1)

    def cut(self, ids: Tensor) -> Tensor:
        """(B, L) → (B, bucket): no longer than the longest text needs."""
        return ids[:, : bucket(int(self.find(ids).max()) + 1, ids.shape[1])]


def find_supported(model: Any) -> Any | None:
    """The part of `model` that holds its text tower, when `CausalTextTower` computes what it computes; else None."""
    tower = getattr(model, "text", model)
    pooling, mask = _pool_type(tower), getattr(tower, "attn_mask", None)
    plain = hasattr(tower, "transformer") and hasattr(tower.transformer, "resblocks") and is_plain(tower.transformer)
    if not plain or pooling not in ("argmax", "eos") or getattr(tower, "cls_emb", None) is not None:
        return None
    return tower if mask is not None and _is_causal(mask) and not getattr(tower, "use_pad_mask", False) else None


def _pool_type(tower: Any) -> str | None:
    return getattr(tower, "text_pool_type", getattr(tower, "pool_type", None))


def _is_causal(mask: Tensor) -> bool:
    expected = torch.full_like(mask, float("-inf")).triu(1)
    return mask.ndim == 2 and bool(torch.equal(mask, expected))


class CausalTextTower(nn.Module):
    """(B, L) token ids, cut anywhere after their ends → (B, D).

    Source: open_clip.model.CLIP.encode_text and open_clip.transformer.TextTransformer.
    """

    def __init__(self, tower: Any) -> None:
        super().__init__()
        by_id = _pool_type(tower) == "eos"
        self.end = EndOfText(getattr(tower, "text_eos_id", getattr(tower, "eos_id", None)) if by_id else None)
        self.token_embedding, self.positional_embedding = tower.token_embedding, tower.positional_embedding
        *first, last = tower.transformer.resblocks
        self.blocks, self.last = nn.ModuleList(map(TransformerBlock, first)), LastTransformerBlock(last)
        self.ln_final, self.text_projection = tower.ln_final, tower.text_projection

    def forward(self, ids: Tensor) -> Tensor:
        x = self.token_embedding(ids) + self.positional_embedding[: ids.shape[1]]
        for block in self.blocks:
            x = block(x, causal=True)
        return self._project(self.ln_final(self.last(x, self.end.find(ids))))

    def _project(self, pooled: Tensor) -> Tensor:
        if self.text_projection is None:
            return pooled
        by_matrix = not isinstance(self.text_projection, nn.Linear)
        projected: Tensor = pooled @ self.text_projection if by_matrix else self.text_projection(pooled)
        return projected


def bucket(length: int, longest: int) -> int:
    """The least of BUCKETS that holds `length` tokens, at most `longest`."""
    return next((size for size in BUCKETS if length <= size <= longest), longest)
