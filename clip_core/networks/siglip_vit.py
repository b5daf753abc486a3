"""SigLIP's picture tower of any size, as a model of timm: open_clip knows timm's models by their names alone.

timm's own SigLIP names fix the sizes, and some of them the exact GELU where transformers computes the tanh one.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

_NAME = re.compile(r"clip_core_siglip_w(\d+)_d(\d+)_h(\d+)_m(\d+)_p(\d+)_s(\d+)_(gelu|tanh)_e(\d+)")


@dataclass(frozen=True)
class SiglipShape:
    """`mlp`: hidden units; `size`: pixels of an edge; `eps`: of its layer norms, in units of 1e-12."""

    width: int
    depth: int
    heads: int
    mlp: int
    patch: int
    size: int
    tanh: bool
    eps: int

    @classmethod
    def parse(cls, name: str) -> SiglipShape | None:
        found = _NAME.fullmatch(name)
        if found is None:
            return None
        width, depth, heads, mlp, patch, size = map(int, found.groups()[:6])
        return cls(width, depth, heads, mlp, patch, size, found[7] == "tanh", int(found[8]))

    @property
    def name(self) -> str:
        sizes = f"w{self.width}_d{self.depth}_h{self.heads}_m{self.mlp}_p{self.patch}_s{self.size}"
        return f"clip_core_siglip_{sizes}_{'tanh' if self.tanh else 'gelu'}_e{self.eps}"


def register(name: str | None) -> None:
    """Teach timm the model of this name, if it is one of ours."""
    shape = SiglipShape.parse(name or "")
    if shape is not None:
        from timm.models import is_model, register_model

        if not is_model(shape.name):
            register_model(_entry_point(shape))


def _entry_point(shape: SiglipShape) -> Callable[..., Any]:
    def build(**kwargs: Any) -> Any:
        from timm.models.vision_transformer import VisionTransformer
        from torch import nn

        given = {key: value for key, value in kwargs.items() if key in ("num_classes", "global_pool")}
        return VisionTransformer(
            img_size=shape.size,
            patch_size=shape.patch,
            embed_dim=shape.width,
            depth=shape.depth,
            num_heads=shape.heads,
            mlp_ratio=(shape.mlp + 0.5) / shape.width,  # timm rounds down
            class_token=False,
            act_layer="gelu_tanh" if shape.tanh else "gelu",
            norm_layer=partial(nn.LayerNorm, eps=shape.eps * 1e-12),
            **given,
        )

    build.__name__ = shape.name
    return build


__all__: list[str] = ["SiglipShape", "register"]  # timm adds the names that it is taught
