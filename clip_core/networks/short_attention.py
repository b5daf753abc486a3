"""Attention over few tokens on a GPU, by a kernel of our own: reads q, k and v where their product left them.

CLIP's sequences fit a tile or a few, where the library's kernels, made for thousands of tokens, mostly wait.

Source: online softmax as in FlashAttention (Dao et al., arXiv:2205.14135); https://triton-lang.org
"""

from __future__ import annotations

import math

import triton
import triton.language as tl
from torch import Tensor
from torch.library import triton_op, wrap_triton

HEAD_DIMS = (16, 32, 64, 128)
_LARGE, _SMALL = (64, 4), (16, 1)  # rows of a tile, and warps that compute it
_LOG2_E = 1 / math.log(2)


# Without annotations of types: Inductor copies this source to where no other names are known.
@triton.jit  # type: ignore[untyped-decorator]
def _attend(  # type: ignore[no-untyped-def]
    packed, out, length, heads, scale: tl.constexpr, causal: tl.constexpr, tile: tl.constexpr, dim: tl.constexpr
):
    """One program: `tile` queries of one head of one sequence."""
    sequence, head = tl.program_id(0) // heads, tl.program_id(0) % heads
    width = heads * dim
    ours = packed + sequence.to(tl.int64) * length * (3 * width) + head * dim
    dims = tl.arange(0, dim)
    rows = tl.program_id(1) * tile + tl.arange(0, tile)
    q = tl.load(ours + rows[:, None] * (3 * width) + dims, mask=rows[:, None] < length, other=0.0)
    most = tl.full((tile,), float("-inf"), tl.float32)
    total = tl.zeros((tile,), tl.float32)
    mixed = tl.zeros((tile, dim), tl.float32)
    end = tl.minimum((tl.program_id(1) + 1) * tile, length) if causal else length
    for start in range(0, end, tile):
        columns = start + tl.arange(0, tile)
        there = columns[:, None] < length
        k = tl.load(ours + width + columns[:, None] * (3 * width) + dims, mask=there, other=0.0)
        v = tl.load(ours + 2 * width + columns[:, None] * (3 * width) + dims, mask=there, other=0.0)
        scores = tl.dot(q, tl.trans(k)) * scale
        seen = (columns < length)[None, :]
        if causal:
            seen = seen & (columns[None, :] <= rows[:, None])
        scores = tl.where(seen, scores, float("-inf"))
        now = tl.maximum(most, tl.max(scores, 1))
        weights = tl.exp2(scores - now[:, None])
        shrink = tl.exp2(most - now)
        total = total * shrink + tl.sum(weights, 1)
        mixed = mixed * shrink[:, None] + tl.dot(weights.to(v.dtype), v)
        most = now
    to = out + (sequence.to(tl.int64) * length + rows[:, None]) * width + head * dim + dims
    tl.store(to, (mixed / total[:, None]).to(out.dtype.element_ty), mask=rows[:, None] < length)


@triton_op("clipserve::short_attention", mutates_args={})
def short_attention(packed: Tensor, heads: int, causal: bool) -> Tensor:
    """(B, L, 3·W) → (B, L, W): softmax(q·kᵀ / √D)·v of each head, where W = heads · D and D is one of HEAD_DIMS."""
    batch, length, width = packed.shape[0], packed.shape[1], packed.shape[2] // 3
    dim = width // heads
    out = packed.new_empty(batch, length, width)
    tile, warps = _LARGE if isinstance(length, int) and length > 2 * _SMALL[0] else _SMALL  # free lengths: texts
    grid = (batch * heads, triton.cdiv(length, tile))
    scale = _LOG2_E / math.sqrt(dim)
    wrap_triton(_attend)[grid](packed.contiguous(), out, length, heads, scale, causal, tile, dim, num_warps=warps)
    return out
