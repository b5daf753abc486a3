"""The captioner's shape: a CoCa of open_clip, small enough for git, and how it begins."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import nn

from scripts.demo.captioner.vocabulary import MERGES, write_merges
from scripts.demo.learner import PREPROCESS

WIDTH = 128  # of everything: open_clip's decoder reads image and text tokens without a projection
TEXT: dict[str, Any] = {"context_length": 32, "width": WIDTH, "heads": 4, "layers": 2}
VISION: dict[str, Any] = {
    "image_size": 64,
    "layers": 4,
    "width": WIDTH,
    "patch_size": 8,
    "head_width": 32,
    "attentional_pool": True,
    "attn_pooler_queries": 17,
    "attn_pooler_heads": 4,
    "output_tokens": True,
}


def write_config(directory: Path) -> None:
    """The merges and `open_clip_config.json`."""
    directory.mkdir(parents=True, exist_ok=True)
    own = {
        "vocab_size": write_merges(directory),
        "embed_cls": True,
        "output_tokens": True,
        "tokenizer_kwargs": {"bpe_path": MERGES},
    }
    model = {
        "embed_dim": WIDTH,
        "custom_text": True,
        "vision_cfg": VISION,
        "text_cfg": TEXT | own,
        "multimodal_cfg": TEXT,
    }
    text = json.dumps({"model_cfg": model, "preprocess_cfg": PREPROCESS}, indent=2)
    (directory / "open_clip_config.json").write_text(text + "\n", encoding="utf-8")


def new_model(directory: Path, trunk: Path | None) -> Any:
    """The model of `directory`'s config, its image layers taken from the CLIP in `trunk`."""
    import open_clip

    model = open_clip.create_model(f"local-dir:{directory}", load_weights=False)
    _init_decoder(model.text_decoder)
    if trunk:
        _take_trunk(model.visual, open_clip.create_model(f"local-dir:{trunk}").visual)
    return model


def _init_decoder(decoder: Any) -> None:
    """open_clip 3.3 leaves the decoder as torch allocated it: `text_projection` is whatever memory held."""
    attention, out, hidden = WIDTH**-0.5, WIDTH**-0.5 * (2 * decoder.layers) ** -0.5, (2 * WIDTH) ** -0.5
    for block in [*decoder.resblocks, *decoder.cross_attn]:
        nn.init.normal_(block.attn.in_proj_weight, std=attention)
        nn.init.normal_(block.attn.out_proj.weight, std=out)
        nn.init.normal_(block.mlp.c_fc.weight, std=hidden)
        nn.init.normal_(block.mlp.c_proj.weight, std=out)
    nn.init.normal_(decoder.text_projection, std=attention)


@torch.no_grad()
def _take_trunk(visual: Any, trained: Any) -> None:
    for name in ("class_embedding", "positional_embedding"):
        getattr(visual, name).copy_(getattr(trained, name))
    for name in ("conv1", "ln_pre", "transformer"):
        getattr(visual, name).load_state_dict(getattr(trained, name).state_dict())
