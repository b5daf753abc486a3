"""The plain CLIP of open_clip, built without open_clip: the same modules under the same names, for our own towers.

`import open_clip` brings torchvision, timm, transformers and torch's compiler: two thirds of the processor time of a
worker's start. What a configuration says beyond the plain model is left to open_clip itself.

Source: open_clip.model.CLIP, open_clip.transformer.{VisionTransformer, TextTransformer, ResidualAttentionBlock}.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

_MODEL = {"embed_dim", "vision_cfg", "text_cfg"}
VISION = {"image_size", "layers", "width", "patch_size", "head_width", "mlp_ratio"}
TEXT_DEFAULTS = {"context_length": 77, "vocab_size": 49408, "width": 512, "heads": 8, "layers": 12, "mlp_ratio": 4.0}


class PlainBlock(nn.Module):
    """The weights of a ResidualAttentionBlock, which our own blocks compute with."""

    def __init__(self, width: int, heads: int, mlp_ratio: float) -> None:
        super().__init__()
        hidden = int(width * mlp_ratio)
        self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.ls_1, self.ls_2 = nn.Identity(), nn.Identity()
        self.attn = nn.MultiheadAttention(width, heads, batch_first=True)
        self.mlp = nn.Sequential(
            OrderedDict(c_fc=nn.Linear(width, hidden), gelu=nn.GELU(), c_proj=nn.Linear(hidden, width))
        )


class PlainTransformer(nn.Module):
    def __init__(self, width: int, layers: int, heads: int, mlp_ratio: float) -> None:
        super().__init__()
        self.resblocks = nn.ModuleList(PlainBlock(width, heads, mlp_ratio) for _ in range(layers))


class PlainVision(nn.Module):
    """The weights of a VisionTransformer with a class token."""

    pool_type = "tok"
    attn_pool: nn.Module | None

    def __init__(
        self,
        embed_dim: int,
        image_size: int | tuple[int, int] = 224,
        layers: int = 12,
        width: int = 768,
        patch_size: int = 16,
        head_width: int = 64,
        mlp_ratio: float = 4.0,
    ) -> None:
        super().__init__()
        self.attn_pool = None
        height, wide = (image_size, image_size) if isinstance(image_size, int) else image_size
        places = (height // patch_size) * (wide // patch_size) + 1
        self.patch_size = (patch_size, patch_size)
        self.conv1 = nn.Conv2d(3, width, kernel_size=patch_size, stride=patch_size, bias=False)
        self.class_embedding = nn.Parameter(torch.empty(width))
        self.positional_embedding = nn.Parameter(torch.empty(places, width))
        self.ln_pre, self.ln_post = nn.LayerNorm(width), nn.LayerNorm(width)
        self.transformer = PlainTransformer(width, layers, width // head_width, mlp_ratio)
        self.proj = nn.Parameter(torch.empty(width, embed_dim))


class PlainClip(nn.Module):
    """The weights of a CLIP whose texts end at their largest id. Made on the device "meta": `load` gives it weights."""

    text_pool_type, text_eos_id = "argmax", None

    def __init__(self, embed_dim: int, vision_cfg: Mapping[str, Any], text_cfg: Mapping[str, Any]) -> None:
        super().__init__()
        text: dict[str, Any] = {**TEXT_DEFAULTS, **text_cfg}
        width, context = text["width"], text["context_length"]
        self.visual = PlainVision(embed_dim, **vision_cfg)
        self.transformer = PlainTransformer(width, text["layers"], text["heads"], text["mlp_ratio"])
        vectors = torch.empty(text["vocab_size"], width)  # given, since random ones on "meta" import torch's compiler
        self.token_embedding = nn.Embedding(len(vectors), width, _weight=vectors)
        self.positional_embedding = nn.Parameter(torch.empty(context, width))
        self.ln_final = nn.LayerNorm(width)
        self.text_projection = nn.Parameter(torch.empty(width, embed_dim))
        self.logit_scale = nn.Parameter(torch.empty(()))
        self.context_length = context

    @property
    def attn_mask(self) -> torch.Tensor:
        """(L, L): 0 where a token may look, -inf where not."""
        return torch.full((self.context_length, self.context_length), float("-inf")).triu(1)


def build(config: Mapping[str, Any]) -> PlainClip | None:
    """On the device "meta". None where `model_cfg` of open_clip_config.json asks for more than the plain CLIP."""
    vision, text = config["vision_cfg"], config["text_cfg"]
    plain = set(config) <= _MODEL and set(vision) <= VISION and set(text) <= set(TEXT_DEFAULTS)
    if not plain or not all(isinstance(vision.get(name, 0), int) for name in ("layers", "patch_size")):
        return None
    with torch.device("meta"):
        return PlainClip(config["embed_dim"], vision, text).eval().requires_grad_(False)
