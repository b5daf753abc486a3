"""Pre-norm transformer blocks with the weights of open_clip's and one matrix product for q, k and v.

Only one row of the last block's output is ever used (the class token or the end of text). `LastTransformerBlock`
computes only that row: the same mathematics, without five sixths of a block's work.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from clip_core.networks.plain_clip import PlainBlock

SHORT = 128  # tokens up to which the library's fused kernel, which pays by tiles, is beaten: on a CPU by two products


def is_plain(transformer: Any) -> bool:
    """Whether every block is open_clip's standard one, which `TransformerBlock` reproduces."""
    if all(isinstance(block, PlainBlock) for block in transformer.resblocks):
        return True
    from open_clip.transformer import LayerScale, ResidualAttentionBlock

    return all(
        type(block) is ResidualAttentionBlock
        and isinstance(block.attn, nn.MultiheadAttention)
        and block.attn.in_proj_weight is not None
        and isinstance(block.ls_1, nn.Identity | LayerScale)
        and not hasattr(block, "ln_1_kv")
        for block in transformer.resblocks
    )


def linear(weight: Tensor, bias: Tensor | None) -> nn.Linear:
    """An nn.Linear around weights that exist: (out, in) and (out,)."""
    made = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None, device="meta")
    made.weight = nn.Parameter(weight.detach(), requires_grad=False)
    if bias is not None:
        made.bias = nn.Parameter(bias.detach(), requires_grad=False)
    return made


class BlockParts(nn.Module):
    """What all blocks have: everything but how they make q, k and v. `attention`: the type to attend in."""

    attention: torch.dtype | None = None

    def __init__(self, block: Any) -> None:
        super().__init__()
        self.heads: int = block.attn.num_heads
        self.ln_1, self.ln_2, self.ls_1, self.ls_2 = block.ln_1, block.ln_2, block.ls_1, block.ls_2
        self.out = linear(block.attn.out_proj.weight, block.attn.out_proj.bias)
        self.fc, self.act, self.proj = block.mlp.c_fc, block.mlp.gelu, block.mlp.c_proj

    def _attend(self, q: Tensor, k: Tensor, v: Tensor, seen: Tensor | None) -> Tensor:
        """q (B, L, W), k and v (B, M, W) → (B, L, W); `seen`, (L, M) or broadcastable, is true where q sees k."""
        split_q, split_k, split_v = (_split(each.to(self.attention or q.dtype), self.heads) for each in (q, k, v))
        return attend(split_q, split_k, split_v, seen).transpose(1, 2).flatten(2).to(q.dtype)

    def _feed(self, x: Tensor) -> Tensor:
        fed: Tensor = x + self.ls_2(self.proj(self.act(self.fc(self.ln_2(x)))))
        return fed


class TransformerBlock(BlockParts):
    """(B, L, W) → (B, L, W); source: open_clip.transformer.ResidualAttentionBlock.

    `packed`, (B, L, 3·W), heads, causal → (B, L, W): attends to SHORT tokens or fewer in place of q, k and v apart.
    """

    packed: Callable[[Tensor, int, bool], Tensor] | None = None

    def __init__(self, block: Any) -> None:
        super().__init__(block)
        self.qkv = linear(block.attn.in_proj_weight, block.attn.in_proj_bias)

    def forward(self, x: Tensor, causal: bool) -> Tensor:
        qkv = self.qkv(self.ln_1(x))
        if self.packed is not None and x.shape[1] <= SHORT:
            attended = self.packed(qkv, self.heads, causal)
        else:
            q, k, v = qkv.chunk(3, dim=-1)
            attended = self._attend(q, k, v, lower_half(x) if causal else None)
        return self._feed(x + self.ls_1(self.out(attended)))


class LastTransformerBlock(BlockParts):
    """(B, L, W) → (B, W): the one row of each sequence that is used."""

    def __init__(self, block: Any) -> None:
        super().__init__(block)
        weight, bias, width = block.attn.in_proj_weight, block.attn.in_proj_bias, block.attn.embed_dim
        self.q = linear(weight[:width], None if bias is None else bias[:width])
        self.kv = linear(weight[width:], None if bias is None else bias[width:])

    def forward(self, x: Tensor, rows: Tensor | None) -> Tensor:
        """`rows` (B,) int64: the row of each sequence, seeing itself and what is before it; None: row 0, seeing all."""
        normed = self.ln_1(x)
        seen = None
        if rows is None:
            row, own = x[:, :1], normed[:, :1]
        else:
            batch = torch.arange(x.shape[0], device=x.device)
            row, own = x[batch, rows][:, None], normed[batch, rows][:, None]
            seen = (torch.arange(x.shape[1], device=x.device) <= rows[:, None])[:, None, None]
        k, v = self.kv(normed).chunk(2, dim=-1)
        row = row + self.ls_1(self.out(self._attend(self.q(own), k, v, seen)))
        return self._feed(row)[:, 0]


def attend(q: Tensor, k: Tensor, v: Tensor, seen: Tensor | None) -> Tensor:
    """(B, heads, L, D), twice (B, heads, M, D) → (B, heads, L, D); softmax(q·kᵀ / √D)·v where `seen`."""
    if q.device.type != "cpu" and q.shape[2] == 1 and seen is not None:
        return attend_one(q, k, v, seen)
    if q.device.type != "cpu" or k.shape[2] > SHORT:
        return functional.scaled_dot_product_attention(q, k, v, attn_mask=seen)
    scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)
    if seen is not None:
        scores = scores.masked_fill(~seen, float("-inf"))
    attended: Tensor = scores.softmax(dim=-1) @ v
    return attended


def attend_one(q: Tensor, k: Tensor, v: Tensor, seen: Tensor) -> Tensor:
    """`attend` of one query by sums: a GPU's kernel that takes a mask is made for many queries, and slower."""
    scores = (q.float() * k.float()).sum(dim=-1) * q.shape[-1] ** -0.5
    weights = scores.masked_fill(~seen[..., 0, :], float("-inf")).softmax(dim=-1)[..., None]
    attended: Tensor = (weights * v.float()).sum(dim=-2, keepdim=True).to(v.dtype)
    return attended


def lower_half(x: Tensor) -> Tensor:
    """(B, L, …) → (L, L): true on and below the diagonal. From `arange`: a stored mask would fix the length."""
    places = torch.arange(x.shape[1], device=x.device)
    lower: Tensor = places <= places[:, None]
    return lower


def _split(x: Tensor, heads: int) -> Tensor:
    """(B, L, W) → (B, heads, L, W / heads)"""
    batch, length, width = x.shape
    return x.view(batch, length, heads, width // heads).transpose(1, 2)
