"""The model that an archive describes, built by open_clip, with the archive's weights in it."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from torch import nn

from clip_core.errors import BadModel
from clip_core.model_spec import CONFIG_FILE, WEIGHTS_FILE


def load_model(model_dir: Path, kind: str) -> Any:
    """open_clip's model (fp32, eval) with the towers of `kind`: text, image or multimodal. Raises BadModel."""
    model = _build(model_dir)
    _load_weights(model, model_dir / WEIGHTS_FILE, kind)
    if kind == "text":
        model.visual = None
    elif kind == "image":
        for name in _text_attributes(model):
            setattr(model, name, None)
    return model


def _build(model_dir: Path) -> Any:
    import open_clip

    if not (model_dir / CONFIG_FILE).is_file():
        raise BadModel(f"{CONFIG_FILE} is missing; rebuild with `clipserve archive build`")
    logging.disable(logging.WARNING)  # open_clip warns that the weights are random: they are loaded next
    try:
        model = open_clip.create_model(
            f"local-dir:{model_dir}", load_weights=False, pretrained_text=False, pretrained_image=False
        )
    except (RuntimeError, ValueError, TypeError, KeyError) as error:
        raise BadModel(f"open_clip can't build the model in {CONFIG_FILE}: {error}") from error
    finally:
        logging.disable(logging.NOTSET)
    return model.eval().requires_grad_(False)


def _load_weights(model: nn.Module, path: Path, kind: str) -> None:
    try:
        state = {key: value.float() for key, value in load_file(path).items()}
    except Exception as error:  # safetensors raises its own untyped errors
        raise BadModel(f"{path.name} can't be read: {error}") from error
    problem = model.load_state_dict(state, strict=False)
    missing = [key for key in problem.missing_keys if belongs(key, kind)]
    if missing or problem.unexpected_keys:
        raise BadModel(f"{path.name} does not fit: missing {missing[:3]}, unknown {problem.unexpected_keys[:3]}")


def belongs(key: str, kind: str) -> bool:
    """Whether a weight is needed to serve `kind` ("text", "image", "multimodal"); the captioner's decoder never is."""
    if key.startswith("text_decoder."):
        return False
    shared = key in ("logit_scale", "logit_bias")
    return shared or kind == "multimodal" or key.startswith("visual.") == (kind == "image")


def _text_attributes(model: nn.Module) -> Iterable[str]:
    return [name for name, _ in model.named_children() if name not in ("visual", "text_decoder")]
