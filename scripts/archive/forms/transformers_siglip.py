"""A folder of transformers' SiglipModel → open_clip's names and configuration, every number as it is."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from clip_core.errors import BadModel
from clip_core.networks.siglip_vit import SiglipShape
from scripts.archive.assembly.parts import LOCAL, ModelParts, State
from scripts.archive.assembly.siglip_words import is_siglips
from scripts.archive.forms.transformers_folder import (
    POSITION_IDS,
    TANH,
    block_config,
    block_name,
    preprocessing,
    sub_config,
    with_joint_projections,
)

_PREPROCESS = {"mean": [0.5] * 3, "std": [0.5] * 3, "interpolation": "bicubic", "resize_mode": "squash"}
_TEXT = {
    "embeddings.token_embedding.weight": "token_embedding.weight",
    "embeddings.position_embedding.weight": "positional_embedding",
    "final_layer_norm.weight": "ln_final.weight",
    "final_layer_norm.bias": "ln_final.bias",
    "head.weight": "text_projection.weight",
    "head.bias": "text_projection.bias",
}
_VISION = {
    "embeddings.patch_embedding.weight": "patch_embed.proj.weight",
    "embeddings.patch_embedding.bias": "patch_embed.proj.bias",
    "post_layernorm.weight": "norm.weight",
    "post_layernorm.bias": "norm.bias",
    "head.attention.out_proj.weight": "attn_pool.proj.weight",
    "head.attention.out_proj.bias": "attn_pool.proj.bias",
    "head.layernorm.weight": "attn_pool.norm.weight",
    "head.layernorm.bias": "attn_pool.norm.bias",
    "head.probe": "attn_pool.latent",
}
_PARTS = {  # within a block, or the pooling, of timm
    "layer_norm1": "norm1",
    "layer_norm2": "norm2",
    "self_attn.in_proj_": "attn.qkv.",
    "self_attn.out_proj": "attn.proj",
}


def read(path: Path, config: Mapping[str, Any], state: State, folders: tuple[Path, ...]) -> ModelParts:
    """Raises BadModel."""
    text, vision = sub_config(path, config, "text_config"), sub_config(path, config, "vision_config")
    preprocess, notes = preprocessing(path, vision["image_size"], _PREPROCESS)
    model = _model_config(path, text, vision)
    if any(is_siglips(folder) for folder in (*folders, path)):
        model["text_cfg"]["tokenizer_kwargs"] = {"clean": "canonicalize"}
    return ModelParts(model, preprocess, converted(state), (*folders, path), tuple(notes))


def _model_config(path: Path, text: Mapping[str, Any], vision: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "embed_dim": vision["hidden_size"],
        "init_logit_bias": -10,
        "custom_text": True,
        "vision_cfg": {
            "image_size": vision["image_size"],
            "timm_model_name": _picture_tower(path, vision),
            "timm_model_pretrained": False,
            "timm_pool": "map",
            "timm_proj": "none",
        },
        "text_cfg": {
            "context_length": text["max_position_embeddings"],
            "vocab_size": text["vocab_size"],
            "hf_tokenizer_name": LOCAL,
            **block_config(path, text),
            "heads": text["num_attention_heads"],
            "no_causal_mask": True,
            "proj_bias": True,
            "pool_type": "last",
        },
    }


def _picture_tower(path: Path, vision: Mapping[str, Any]) -> str:
    if not vision.get("vision_use_head", True) or not isinstance(vision["image_size"], int):
        raise BadModel(f"{path}: a SiglipModel without its pooling head, or of oblong pictures, is not known here")
    if vision["hidden_act"] not in ("gelu", *TANH):
        raise BadModel(f"{path}: the activation {vision['hidden_act']} is not known here")
    return SiglipShape(
        width=vision["hidden_size"],
        depth=vision["num_hidden_layers"],
        heads=vision["num_attention_heads"],
        mlp=vision["intermediate_size"],
        patch=vision["patch_size"],
        size=vision["image_size"],
        tanh=vision["hidden_act"] in TANH,
        eps=round(vision["layer_norm_eps"] * 1e12),
    ).name


def converted(state: State) -> State:
    """A state dict of SiglipModel → open_clip's. Unknown names stay, so that they are reported."""
    ours = {key: value for key, value in state.items() if not key.startswith(("text_model.", "vision_model."))}
    for key, value in with_joint_projections(state, "text_model.").items():
        name = block_name(key) or _TEXT.get(key)
        if key != POSITION_IDS:
            ours[f"text.{name}" if name else f"text_model.{key}"] = value
    for key, value in with_joint_projections(state, "vision_model.").items():
        if key == "embeddings.position_embedding.weight":
            ours["visual.trunk.pos_embed"] = value[None]
        elif key.startswith("head.attention.in_proj_"):
            ours |= _query_and_rest(key.rpartition("_")[2], value)
        elif key != POSITION_IDS:
            name = _trunk_name(key)
            ours[f"visual.trunk.{name}" if name else f"vision_model.{key}"] = value
    return ours


def _query_and_rest(kind: str, value: Tensor) -> State:
    rows = value.shape[0] // 3
    return {f"visual.trunk.attn_pool.q.{kind}": value[:rows], f"visual.trunk.attn_pool.kv.{kind}": value[rows:]}


def _trunk_name(key: str) -> str | None:
    if key in _VISION:
        return _VISION[key]
    key = key.replace("encoder.layers.", "blocks.").replace("head.mlp.", "attn_pool.mlp.")
    for theirs, ours in _PARTS.items():
        key = key.replace(f".{theirs}", f".{ours}")
    return key if key.startswith(("blocks.", "attn_pool.mlp.")) else None
