"""The CoCa of open_clip, built without open_clip, as `plain_clip` does it: the same weights under the same names.

What a configuration says beyond the published CoCas is left to open_clip itself.

Source: open_clip.coca_model.CoCa, open_clip.transformer.{AttentionalPooler, TextTransformer, MultimodalTransformer}.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from clip_core.networks.plain_clip import TEXT_DEFAULTS, VISION, PlainBlock, PlainTransformer, PlainVision

_MODEL = {"embed_dim", "custom_text", "vision_cfg", "text_cfg", "multimodal_cfg"}
_POOL = {"attn_pooler_queries", "attn_pooler_heads"}
_POOLED = {"attentional_pool", "output_tokens"}
_TEXT = {"embed_cls", "output_tokens", "tokenizer_kwargs"}
_DECODER = {"context_length": 77, "width": 512, "heads": 8, "layers": 12}
_UNUSED = {"vocab_size", "attn_pooler_heads"}  # of the decoder's settings: open_clip reads neither


class PlainPooler(nn.Module):
    """Queries that look at all patches: (B, P, W) → (B, Q, D)."""

    def __init__(self, dim: int, width: int, heads: int, queries: int) -> None:
        super().__init__()
        self.query = nn.Parameter(torch.empty(queries, dim))
        self.attn = nn.MultiheadAttention(dim, heads, kdim=width, vdim=width, batch_first=True)
        self.ln_q, self.ln_k = nn.LayerNorm(dim), nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        seen = self.ln_k(x)
        asked = self.ln_q(self.query).unsqueeze(0).expand(x.shape[0], -1, -1)
        found: Tensor = self.attn(asked, seen, seen, need_weights=False)[0]
        return found


class PlainCocaVision(PlainVision):
    """The weights of a VisionTransformer with an attentional pooler, whose first query is the picture's vector."""

    output_tokens = True

    def __init__(
        self,
        embed_dim: int,
        width: int = 768,
        attn_pooler_queries: int = 256,
        attn_pooler_heads: int = 8,
        **rest: Any,
    ) -> None:
        super().__init__(embed_dim, width=width, **rest)
        self.attn_pool = PlainPooler(embed_dim, width, attn_pooler_heads, attn_pooler_queries)
        self.ln_post = nn.LayerNorm(embed_dim)
        self.proj = nn.Parameter(torch.empty(embed_dim, embed_dim))

    def _pool(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """→ (B, D) and (B, Q - 1, D); under open_clip's name, by which our towers call it."""
        assert self.attn_pool is not None
        tokens = self.ln_post(self.attn_pool(x))
        return tokens[:, 0], tokens[:, 1:]


class PlainCocaText(nn.Module):
    """The weights of the half that knows of no picture."""

    pad_id, correct_cls_mask = 0, False

    def __init__(self, embed_dim: int, context_length: int, vocab_size: int, width: int, **blocks: Any) -> None:
        super().__init__()
        self.context_length, self.width = context_length, width
        vectors = torch.empty(vocab_size, width)
        self.token_embedding = nn.Embedding(vocab_size, width, _weight=vectors)
        self.cls_emb = nn.Parameter(torch.empty(width))
        self.positional_embedding = nn.Parameter(torch.empty(context_length + 1, width))
        self.transformer = PlainTransformer(width, **blocks)
        self.ln_final = nn.LayerNorm(width)
        self.text_projection = nn.Parameter(torch.empty(width, embed_dim))


class PlainCrossBlock(PlainBlock):
    def __init__(self, width: int, heads: int, mlp_ratio: float) -> None:
        super().__init__(width, heads, mlp_ratio)
        self.ln_1_kv = nn.LayerNorm(width)


class PlainCocaDecoder(PlainTransformer):
    """The weights of the half that looks at a picture between its blocks."""

    def __init__(self, vocab_size: int, context_length: int, width: int, heads: int, layers: int) -> None:
        super().__init__(width, layers, heads, mlp_ratio=4.0)
        self.context_length, self.width = context_length, width
        self.cross_attn = nn.ModuleList(PlainCrossBlock(width, heads, mlp_ratio=4.0) for _ in range(layers))
        self.ln_final = nn.LayerNorm(width)
        self.text_projection = nn.Parameter(torch.empty(width, vocab_size))


class PlainCoca(nn.Module):
    """The weights of a CoCa. Made on the device "meta": loading gives it weights."""

    def __init__(
        self,
        embed_dim: int,
        vision_cfg: Mapping[str, Any],
        text_cfg: Mapping[str, Any],
        multimodal_cfg: Mapping[str, Any],
    ) -> None:
        super().__init__()
        text = {name: text_cfg.get(name, default) for name, default in TEXT_DEFAULTS.items()}
        self.text = PlainCocaText(embed_dim, **text)
        self.visual = PlainCocaVision(embed_dim, **{name: vision_cfg[name] for name in vision_cfg.keys() - _POOLED})
        decoder = {name: multimodal_cfg.get(name, default) for name, default in _DECODER.items()}
        self.text_decoder = PlainCocaDecoder(text["vocab_size"], **decoder)
        self.logit_scale = nn.Parameter(torch.empty(()))


def build(config: Mapping[str, Any]) -> PlainCoca | None:
    """On the device "meta". None where `model_cfg` of open_clip_config.json asks for more than the published CoCas."""
    vision, text, decoder = config["vision_cfg"], config["text_cfg"], config.get("multimodal_cfg")
    known = (
        set(config) == _MODEL and set(vision) <= VISION | _POOL | _POOLED and set(text) <= set(TEXT_DEFAULTS) | _TEXT
    )
    if not known or not isinstance(decoder, dict) or not set(decoder) <= set(_DECODER) | _UNUSED:
        return None
    told = (config["custom_text"], text.get("embed_cls"), text.get("output_tokens"), *(vision.get(n) for n in _POOLED))
    if not all(each is True for each in told) or not all(
        isinstance(vision.get(name, 0), int) for name in ("layers", "patch_size")
    ):
        return None
    with torch.device("meta"):
        return PlainCoca(config["embed_dim"], vision, text, decoder).eval().requires_grad_(False)
