"""Cross-attention that keeps a picture's tokens in place of keys and values of every layer.

All layers look at the same tokens, each through a norm and two products of its own. The norm's statistics are those of
the token, so they are the same for all layers; the norm's factor, and the keys' product, are folded into the query, and
the values' product is applied to what attention has summed. One (S, W) a picture is kept instead of M times two.

With n = γ ⊙ z + β, z the token without mean and of variance 1: q·(W_k n + b_k) = (γ ⊙ W_kᵀ q)·z + what is the same for
all tokens, which softmax ignores; and since weights sum to one, Σ a (W_v n + b_v) = W_v γ ⊙ (Σ a z) + W_v β + b_v.

Source: the algebra of DeepSeek-V2's latent attention (Liu et al. 2024), applied to a pooler's tokens.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from clip_core.networks.coca_decoder import CocaDecoder, CrossBlock


class AbsorbedCross(CrossBlock):
    """A CrossBlock whose memory is (1, P, 1, S, W), the same for all blocks."""

    shared = True

    def __init__(self, block: CrossBlock) -> None:
        nn.Module.__init__(self)
        self.heads = block.heads
        self.ln_1, self.ln_2, self.ls_1, self.ls_2 = block.ln_1, block.ln_2, block.ls_1, block.ls_2
        self.q, self.out, self.fc, self.act, self.proj = block.q, block.out, block.fc, block.act, block.proj
        norm, kv, heads = block.ln_1_kv, block.kv, block.heads
        width, depth = kv.in_features, kv.in_features // heads
        self.eps: float = norm.eps
        weight_k, weight_v = kv.weight.view(2, heads, depth, width)
        bias_v = kv.weight.new_zeros(width) if kv.bias is None else kv.bias[width:]
        self.to_tokens = _kept(weight_k * norm.weight * depth**-0.5)  # (H, D, W)
        self.to_values = _kept((weight_v * norm.weight).transpose(1, 2))  # (H, W, D)
        self.offset = _kept((weight_v @ norm.bias + bias_v.view(heads, depth))[:, None])  # (H, 1, D)

    def remember(self, tokens: Tensor) -> Tensor:
        """(P, S, W) → (1, P, 1, S, W)"""
        kept = functional.layer_norm(tokens.float(), tokens.shape[-1:], eps=self.eps)
        return kept.to(self.to_tokens.dtype)[None, :, None]

    def forward(self, x: Tensor, memory: Tensor) -> Tensor:
        """x (P, L, W), memory (1, P, 1, S, W) → (P, L, W)"""
        pictures, length, width = x.shape
        tokens = memory[0, :, 0]
        q = self.q(self.ln_1(x)).to(tokens.dtype).view(pictures * length, self.heads, -1).transpose(0, 1)
        asked = torch.bmm(q, self.to_tokens).view(self.heads, pictures, length, width)
        asked = asked.transpose(0, 1).reshape(pictures, self.heads * length, width)
        weights = torch.bmm(asked, tokens.transpose(1, 2)).float().softmax(dim=-1).to(tokens.dtype)
        summed = torch.bmm(weights, tokens).view(pictures, self.heads, length, width)
        summed = summed.transpose(0, 1).reshape(self.heads, pictures * length, width)
        values = torch.bmm(summed, self.to_values) + self.offset
        attended = values.transpose(0, 1).reshape(pictures, length, width)
        return self._feed(x + self.ls_1(self.out(attended.to(x.dtype))))


def absorb(decoder: CocaDecoder) -> None:
    """In place, of a decoder in float32; its precision is applied after. Raises ValueError where it can't be done."""
    blocks = [block for block in decoder.cross if isinstance(block, CrossBlock)]
    if len({block.ln_1_kv.eps for block in blocks}) != 1:
        raise ValueError("the norms before its cross-attention differ, so one memory can't serve all layers")
    decoder.cross = nn.ModuleList(map(AbsorbedCross, blocks))


def _kept(weight: Tensor) -> nn.Parameter:
    return nn.Parameter(weight.detach().contiguous(), requires_grad=False)
