"""The model that an archive describes, built by open_clip, with the archive's weights in it."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import nn

from clip_core.errors import BadModel
from clip_core.model_spec import CONFIG_FILE, TEXT_CONFIG_FOLDER, WEIGHTS_FILE
from clip_core.networks import plain_clip, plain_coca, siglip_vit


def load_model(model_dir: Path, kind: str) -> Any:
    """open_clip's model (fp32, eval) with the towers of `kind`: text, image or multimodal. Raises BadModel.

    A plain CLIP is built without open_clip, which takes seconds to import.
    """
    model = plain_clip.build(_model_config(model_dir)) or build_model(model_dir)
    _load_weights(model, model_dir / WEIGHTS_FILE, kind)
    if kind == "text":
        model.visual = None
    elif kind == "image":
        for name, _ in list(model.named_children()):
            if name not in ("visual", "text_decoder"):
                setattr(model, name, None)
    return model


def build_coca(model_dir: Path) -> Any:
    """`build_model` of a captioner; a published CoCa is built without open_clip, on the device "meta"."""
    return plain_coca.build(_model_config(model_dir)) or build_model(model_dir)


def build_model(model_dir: Path, device: str = "cpu") -> Any:
    """open_clip's model (fp32, eval) as the files of `model_dir` describe it, before its weights are loaded.

    Nothing is asked of a network. On the device "meta" it takes no memory. Raises BadModel.
    """
    import open_clip

    config = _model_config(model_dir)
    siglip_vit.register(config["vision_cfg"].get("timm_model_name"))
    logging.disable(logging.WARNING)  # open_clip warns that the weights are random: they are loaded next
    try:
        with torch.device(device):
            model = open_clip.create_model(
                f"local-dir:{model_dir}",
                load_weights=False,
                pretrained_text=False,
                pretrained_image=False,
                device=device,
                **_text_tower(config["text_cfg"], model_dir / TEXT_CONFIG_FOLDER),
            )
    except Exception as error:  # open_clip, timm and transformers raise many kinds
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
        raise BadModel(f"open_clip can't build the model in {CONFIG_FILE}: {reason}") from error
    finally:
        logging.disable(logging.NOTSET)
    return model.eval().requires_grad_(False)


def _model_config(model_dir: Path) -> dict[str, Any]:
    try:
        config: dict[str, Any] = json.loads((model_dir / CONFIG_FILE).read_text(encoding="utf-8"))["model_cfg"]
        return {**config, "vision_cfg": dict(config["vision_cfg"]), "text_cfg": dict(config["text_cfg"])}
    except FileNotFoundError as error:
        raise BadModel(f"{CONFIG_FILE} is missing; rebuild with `clipserve archive build`") from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadModel(f"{CONFIG_FILE} can't be read: {error!r}; rebuild with `clipserve archive build`") from error


def _text_tower(text: dict[str, Any], folder: Path) -> dict[str, Any]:
    """For a text tower of Hugging Face's: the configuration in the archive, in place of the name on the hub."""
    if not text.get("hf_model_name") or not folder.is_dir():
        return {}
    return {"text_cfg": {**text, "hf_model_name": str(folder), "hf_model_pretrained": False}}


def _load_weights(model: nn.Module, path: Path, kind: str) -> None:
    try:
        state = {key: value.float() for key, value in load_file(path).items()}
    except Exception as error:  # safetensors raises its own untyped errors
        raise BadModel(f"{path.name} can't be read: {error}") from error
    try:
        problem = model.load_state_dict(state, strict=False, assign=isinstance(model, plain_clip.PlainClip))
    except RuntimeError as error:  # of other shapes
        raise BadModel(f"{path.name} does not fit: {str(error).splitlines()[-1].strip()}") from error
    missing = [key for key in problem.missing_keys if belongs(key, kind)]
    if missing or problem.unexpected_keys:
        raise BadModel(f"{path.name} does not fit: missing {missing[:3]}, unknown {problem.unexpected_keys[:3]}")


def belongs(key: str, kind: str) -> bool:
    """Whether a weight is needed to serve `kind` ("text", "image", "multimodal"); the captioner's decoder never is."""
    if key.startswith("text_decoder."):
        return False
    shared = key in ("logit_scale", "logit_bias")
    return shared or kind == "multimodal" or key.startswith("visual.") == (kind == "image")
