"""The decoder of open_clip's CoCa, one token a step: cached self-attention, cross-attention computed once a picture.

open_clip runs the whole text again for each token. Its two halves are both causal, so what they computed for earlier
tokens stays true: keys and values of all layers are kept in `past`. The class token of the unimodal half stands last
under a causal mask, where no token sees it: it is left out.

Shapes: R rows (texts under way) are P pictures with L rows each; T cached tokens; N self-attention layers of both
halves, M of them in the decoder; H heads of D; S image tokens; V ids.
"""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor, nn

from clip_core.networks.plain_coca import PlainCoca
from clip_core.networks.transformer import BlockParts, TransformerBlock, attend, is_plain, linear, lower_half


class LayeredPast(Protocol):
    """Cached tokens of all rows, layer by layer, where no one tensor holds them."""

    @property
    def span(self) -> int:
        """T"""

    def layer(self, index: int) -> Tensor:
        """(T, 2, R, W), or (T, 2, R·H, D)"""

    def whole(self) -> Tensor:
        """(T, N, 2, R, W), contiguous"""


def unsupported(model: Any) -> str | None:
    """Why `CocaDecoder` does not compute what open_clip computes; None when it does."""
    if isinstance(model, PlainCoca):
        return None
    from open_clip.transformer import MultimodalTransformer, TextTransformer

    text: Any = getattr(model, "text", None)
    decoder: Any = getattr(model, "text_decoder", None)
    if type(decoder) is not MultimodalTransformer:
        return "it has no captioning decoder"
    if type(text) is not TextTransformer or not is_plain(text.transformer) or text.attn_mask is None:
        return "its text tower is not open_clip's causal one"
    if text.cls_emb is None or text.width != decoder.width or not text.output_tokens:
        return "its text tower does not fit its decoder"
    return None if is_plain(decoder) and _crosses_plainly(decoder) else "its decoder's blocks are not open_clip's"


def _crosses_plainly(decoder: Any) -> bool:
    from open_clip.transformer import ResidualAttentionBlock

    return all(type(block) is ResidualAttentionBlock and hasattr(block, "ln_1_kv") for block in decoder.cross_attn)


class CachedBlock(TransformerBlock):
    """open_clip's block for one new token a row, and for whole texts."""

    def step(self, x: Tensor, past: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        """x (R, W), past as in `attend_cached`, bias (R, T + 1) → x, and this token's key and value (2, R, W)."""
        q, k, v = self.qkv(self.ln_1(x)).chunk(3, dim=-1)
        new = torch.stack([k, v]).to(past.dtype)
        attended = attend_cached(q, new, past, bias, self.heads)
        return self._feed(x + self.ls_1(self.out(attended.to(x.dtype)))), new

    def extend(self, x: Tensor, past: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        """x (P, L, W), past (T, 2, P, W), bias (P, 1, L, T + L) → x, and these tokens' keys and values (2, P, L, W)."""
        q, k, v = self.qkv(self.ln_1(x)).chunk(3, dim=-1)
        new = torch.stack([k, v]).to(past.dtype)
        keys, values = torch.cat([past.permute(1, 2, 0, 3), new], dim=2)
        attended = attend_beside(q, keys, values, bias, self.heads)
        return self._feed(x + self.ls_1(self.out(attended.to(x.dtype)))), new

    def read(self, x: Tensor, seen: Tensor) -> Tensor:
        """x (B, L, W), seen (B, 1, L, L) bool → (B, L, W)"""
        q, k, v = self.qkv(self.ln_1(x)).chunk(3, dim=-1)
        return self._feed(x + self.ls_1(self.out(self._attend(q, k, v, seen))))


class CrossBlock(BlockParts):
    """Attends to a picture, by keys and values that `remember` made of it."""

    shared = False  # whether what it remembers is the same for all blocks

    def __init__(self, block: Any) -> None:
        super().__init__(block)
        weight, bias, width = block.attn.in_proj_weight, block.attn.in_proj_bias, block.attn.embed_dim
        self.q = linear(weight[:width], None if bias is None else bias[:width])
        self.kv = linear(weight[width:], None if bias is None else bias[width:])
        self.ln_1_kv = block.ln_1_kv

    def remember(self, tokens: Tensor) -> Tensor:
        """(P, S, W) → (2, P, H, S, D)"""
        pictures, length, width = tokens.shape
        pairs: Tensor = self.kv(self.ln_1_kv(tokens)).view(pictures, length, 2, self.heads, width // self.heads)
        return pairs.permute(2, 0, 3, 1, 4).to(self.attention or tokens.dtype)

    def forward(self, x: Tensor, memory: Tensor) -> Tensor:
        """x (P, L, W), memory (2, P, H, S, D) → (P, L, W)"""
        pictures, length, width = x.shape
        q = self.q(self.ln_1(x)).view(pictures, length, self.heads, width // self.heads).transpose(1, 2)
        attended = attend(q.to(memory.dtype), memory[0], memory[1], None)
        return self._feed(x + self.ls_1(self.out(attended.transpose(1, 2).flatten(2).to(x.dtype))))


class CocaDecoder(nn.Module):
    """Source: open_clip.coca_model.CoCa, open_clip.transformer.{TextTransformer, MultimodalTransformer}."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        text, decoder = model.text, model.text_decoder
        self.token_embedding, self.positional_embedding = text.token_embedding, text.positional_embedding
        self.text = nn.ModuleList(map(CachedBlock, text.transformer.resblocks))
        self.blocks = nn.ModuleList(map(CachedBlock, decoder.resblocks))
        self.cross = nn.ModuleList(map(CrossBlock, decoder.cross_attn))
        self.ln_final = decoder.ln_final
        self.head: nn.Module = linear(decoder.text_projection.t().contiguous(), None)
        self.width: int = decoder.width
        self.pad_mask = PadMask(text.pad_id, correct=text.correct_cls_mask)
        self.context_length: int = min(text.context_length, decoder.context_length)

    @property
    def layers(self) -> int:
        return len(self.text) + len(self.blocks)

    @property
    def cache_dtype(self) -> torch.dtype:
        block = self.blocks[0]
        assert isinstance(block, CachedBlock)
        return block.attention or self.positional_embedding.dtype

    def remember(self, tokens: Tensor) -> Tensor:
        """(P, S, W) of the image tower → (M, 2, P, H, S, D): keys and values that all steps share.

        Of an absorbed decoder (1, 1, P, 1, S, W): what all blocks share, too.
        """
        blocks = self._crosses()
        return torch.stack([block.remember(tokens) for block in (blocks[:1] if blocks[0].shared else blocks)])

    def step(
        self, ids: Tensor, places: Tensor, past: Tensor | LayeredPast, shown: Tensor, own: Tensor, memory: Tensor
    ) -> tuple[Tensor, Tensor]:
        """One token of every row → logits (P, L, V) float32, and what to keep of it (N, 2, P, L, W).

        ids, places (P, L) int64: the tokens and their positions. past (T, N, 2, P, L, W), of which a row sees what
        stands before its position; or the same layer by layer. memory (M, 2, P, H, S, D), or (1, 1, P, 1, S, W) where
        the decoder is absorbed. shown (P, L, T) and own (P, L) float32 belong to the
        unimodal half: 0, or -inf where its padding mask hides a cached token or the new one.
        """
        pictures, lanes = ids.shape
        flat = past.flatten(3, 4) if isinstance(past, Tensor) else past
        span = flat.shape[0] if isinstance(flat, Tensor) else flat.span
        x = (self.token_embedding(ids) + self.positional_embedding[places]).flatten(0, 1)
        earlier = torch.arange(span, device=ids.device) < places[..., None]
        seen = torch.where(earlier, 0.0, float("-inf"))
        text_bias = torch.cat([seen + shown, own[..., None]], dim=-1).flatten(0, 1)
        bias = torch.cat([seen, torch.zeros_like(own)[..., None]], dim=-1).flatten(0, 1)
        each, kept = self._of_each(memory), []
        for i, block in enumerate(self.text):
            x, new = block.step(x, _layer(flat, i), text_bias)  # type: ignore[operator]
            kept.append(new)
        for i, (block, cross) in enumerate(zip(self.blocks, self._crosses(), strict=True)):
            x, new = block.step(x, _layer(flat, len(self.text) + i), bias)  # type: ignore[operator]
            kept.append(new)
            x = cross(x.view(pictures, lanes, self.width), each[i]).flatten(0, 1)
        logits = self.logits(x).view(pictures, lanes, -1)
        return logits, torch.stack(kept).view(-1, 2, pictures, lanes, self.width)

    def extend(
        self, ids: Tensor, places: Tensor, past: Tensor, text_bias: Tensor, bias: Tensor, memory: Tensor
    ) -> tuple[Tensor, Tensor]:
        """L tokens of one text a picture in one pass → logits (P, L, V) float32, and what to keep (N, 2, P, L, W).

        ids, places (P, L) int64. past (T, N, 2, P, W). `bias` (P, L, T + L) float32: 0 where a token sees a cached one
        or one of the L, else -inf; `text_bias`: the same for the unimodal half. memory as of `step`.
        """
        x: Tensor = self.token_embedding(ids) + self.positional_embedding[places]
        each, kept = self._of_each(memory), []
        for i, block in enumerate(self.text):
            x, new = block.extend(x, past[:, i], text_bias[:, None])  # type: ignore[operator]
            kept.append(new)
        for i, (block, cross) in enumerate(zip(self.blocks, self._crosses(), strict=True)):
            x, new = block.extend(x, past[:, len(self.text) + i], bias[:, None])  # type: ignore[operator]
            kept.append(new)
            x = cross(x, each[i])
        return self.logits(x), torch.stack(kept)

    def read(self, ids: Tensor) -> Tensor:
        """(B, L) → (B, L, W): whole texts through the unimodal half, which knows of no picture."""
        x: Tensor = self.token_embedding(ids) + self.positional_embedding[: ids.shape[1]]
        seen = lower_half(ids)[None, None] & self.pad_mask.shown(ids)[:, None, None, :]
        for block in self.text:
            x = block.read(x, seen)  # type: ignore[operator]
        return x

    def look(self, read: Tensor, memory: Tensor) -> Tensor:
        """`read` (B, L, W) beside pictures, (M, 2, P, H, S, D) → (P, B, L, W): ready for `logits`."""
        pictures, texts, length = memory.shape[2], *read.shape[:2]
        seen = lower_half(read)[None, None]
        x, each = read, self._of_each(memory)
        for i, (block, cross) in enumerate(zip(self.blocks, self._crosses(), strict=True)):
            x = block.read(x, seen)  # type: ignore[operator]
            if i == 0:  # the first block knows of no picture yet
                x = x.expand(pictures, *x.shape)
            x = cross(x.reshape(pictures, texts * length, -1), each[i]).view(pictures * texts, length, -1)
        return x.view(pictures, texts, length, -1)

    def logits(self, x: Tensor) -> Tensor:
        """(…, W) → (…, V) float32"""
        logits: Tensor = self.head(self.ln_final(x).to(self.head_dtype)).float()
        return logits

    @property
    def head_dtype(self) -> torch.dtype:
        weight = self.head.weight
        assert isinstance(weight, Tensor), "a head is a linear layer"
        return weight.dtype if weight.is_floating_point() else torch.float32

    def _of_each(self, memory: Tensor) -> Tensor:
        """What each block looks at: (M, …)"""
        return memory.expand(len(self.cross), *memory.shape[1:])

    def _crosses(self) -> list[CrossBlock]:
        return [block for block in self.cross if isinstance(block, CrossBlock)]


class PadMask:
    """Which tokens open_clip's unimodal half hides: those of the padding id, which is a real token, too ("!").

    Most checkpoints were trained with a mask one place too far right: it counts the class token first.
    """

    def __init__(self, pad_id: int, *, correct: bool) -> None:
        self.pad_id, self.shift = pad_id, 0 if correct else 1

    def shown(self, ids: Tensor) -> Tensor:
        """(B, L) → (B, L) bool: keys that are not hidden."""
        shown = ids != self.pad_id
        return shown if not self.shift else torch.cat([torch.ones_like(shown[:, :1]), shown[:, :-1]], dim=1)


def _layer(past: Tensor | LayeredPast, index: int) -> Tensor:
    return past[:, index] if isinstance(past, Tensor) else past.layer(index)


def attend_cached(q: Tensor, new: Tensor, past: Tensor, bias: Tensor, heads: int) -> Tensor:
    """q (R, W), new (2, R, W), past (T, 2, R, W) or (T, 2, R·H, D), bias (R, T + 1) → (R, W).

    Each row sees its cache and itself.
    """
    rows, width = q.shape
    depth = width // heads
    q = (q * depth**-0.5).to(past.dtype).reshape(rows * heads, 1, depth)
    keys = past[:, 0].reshape(-1, rows * heads, depth).permute(1, 2, 0)
    values = past[:, 1].reshape(-1, rows * heads, depth).transpose(0, 1)
    key, value = new.reshape(2, rows * heads, depth, 1)
    scores = torch.cat([torch.bmm(q, keys), torch.bmm(q, key)], dim=-1).float().view(rows, heads, -1) + bias[:, None]
    weights = scores.softmax(dim=-1).to(past.dtype).view(rows * heads, 1, -1)
    attended = torch.bmm(weights[..., :-1], values) + weights[..., -1:] * value.transpose(1, 2)
    joined: Tensor = attended.reshape(rows, width)
    return joined


def attend_beside(q: Tensor, keys: Tensor, values: Tensor, bias: Tensor, heads: int) -> Tensor:
    """q (P, L, W), keys and values (P, M, W), of which the last L are those of q, bias (P, 1, L, M) → (P, L, W).

    Each token's own value is added apart, as `attend_cached` does, so that both round alike.
    """
    pictures, length, width = q.shape
    depth = width // heads
    split = (pictures, -1, heads, depth)
    q = (q * depth**-0.5).to(keys.dtype).view(pictures, length, heads, depth).transpose(1, 2)
    keys, values = keys.view(split).permute(0, 2, 3, 1), values.view(split).transpose(1, 2)
    weights = ((q @ keys).float() + bias).softmax(dim=-1).to(values.dtype)
    own = weights[..., -length:].diagonal(dim1=-2, dim2=-1)
    share = own[..., None].clone()
    own.zero_()
    attended = weights @ values + share * values[:, :, -length:]
    joined: Tensor = attended.transpose(1, 2).reshape(pictures, length, width)
    return joined
