"""A folder of transformers' CLIPModel → open_clip's names and configuration, every number as it is."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from clip_core.errors import BadModel
from scripts.archive.assembly.parts import ModelParts, State
from scripts.archive.forms.clip_vocabulary import choose_tokenizer
from scripts.archive.forms.transformers_folder import (
    POSITION_IDS,
    TANH,
    block_config,
    block_name,
    preprocessing,
    sub_config,
    with_joint_projections,
)

_PREPROCESS = {  # OpenAI's
    "mean": [0.48145466, 0.4578275, 0.40821073],
    "std": [0.26862954, 0.26130258, 0.27577711],
    "interpolation": "bicubic",
    "resize_mode": "shortest",
}
_ACTIVATIONS: dict[str, dict[str, Any]] = {"quick_gelu": {"quick_gelu": True}, "gelu": {}}
_LAST_ID = 2  # the id of an end of text that older configurations name, and which means: the largest
_TEXT = {
    "embeddings.token_embedding.weight": "token_embedding.weight",
    "embeddings.position_embedding.weight": "positional_embedding",
    "final_layer_norm.weight": "ln_final.weight",
    "final_layer_norm.bias": "ln_final.bias",
}
_VISION = {
    "embeddings.class_embedding": "class_embedding",
    "embeddings.patch_embedding.weight": "conv1.weight",
    "embeddings.position_embedding.weight": "positional_embedding",
    "pre_layrnorm.weight": "ln_pre.weight",
    "pre_layrnorm.bias": "ln_pre.bias",
    "post_layernorm.weight": "ln_post.weight",
    "post_layernorm.bias": "ln_post.bias",
}


def read(path: Path, config: Mapping[str, Any], state: State, folders: tuple[Path, ...]) -> ModelParts:
    """Raises BadModel."""
    text, vision = sub_config(path, config, "text_config"), sub_config(path, config, "vision_config")
    model = _model_config(path, text, vision, int(config.get("projection_dim", 512)))
    preprocess, notes = preprocessing(path, vision["image_size"], _PREPROCESS)
    tokenizer, more = choose_tokenizer((*folders, path), text)
    model["text_cfg"] |= tokenizer
    return ModelParts(model, preprocess, converted(state), (*folders, path), (*notes, *more))


def _model_config(path: Path, text: Mapping[str, Any], vision: Mapping[str, Any], dim: int) -> dict[str, Any]:
    tower = {
        **block_config(path, vision),
        "image_size": vision["image_size"],
        "patch_size": vision["patch_size"],
        "head_width": vision["hidden_size"] // vision["num_attention_heads"],
    }
    words = {
        "context_length": text["max_position_embeddings"],
        "vocab_size": text["vocab_size"],
        **block_config(path, text),
        "heads": text["num_attention_heads"],
    }
    config: dict[str, Any] = {
        "embed_dim": dim,
        **_activation(path, text, vision),
        "vision_cfg": tower,
        "text_cfg": words,
    }
    if text["eos_token_id"] not in (_LAST_ID, text["vocab_size"] - 1):
        config |= {"custom_text": True, "text_cfg": words | {"pool_type": "eos", "eos_id": text["eos_token_id"]}}
    return config


def _activation(path: Path, text: Mapping[str, Any], vision: Mapping[str, Any]) -> dict[str, Any]:
    """open_clip has one switch for both towers. Raises BadModel."""
    names = {"gelu" if each["hidden_act"] in TANH else each["hidden_act"] for each in (text, vision)}
    if len(names) != 1 or not names <= _ACTIVATIONS.keys():
        raise BadModel(f"{path}: the activations {text['hidden_act']} and {vision['hidden_act']} are not known here")
    return _ACTIVATIONS[names.pop()]


def converted(state: State) -> State:
    """A state dict of CLIPModel → open_clip's CLIP. Unknown names stay, so that they are reported."""
    left = {key: state[key] for key in state if not key.startswith(("text_model.", "vision_model."))}
    ours: State = {"logit_scale": left.pop("logit_scale")} if "logit_scale" in left else {}
    for theirs, name in (("text_projection.weight", "text_projection"), ("visual_projection.weight", "visual.proj")):
        if theirs in left:
            ours[name] = left.pop(theirs).T.contiguous()
    for prefix, names, room in (("text_model.", _TEXT, ""), ("vision_model.", _VISION, "visual.")):
        for key, value in with_joint_projections(state, prefix).items():
            known = block_name(key) or names.get(key)
            if key != POSITION_IDS:
                ours[room + known if known else prefix + key] = value
    return ours | left
