"""The text and image forward passes, loaded from open_clip weights.

Which one runs is decided by looking at the model that open_clip built, never by its name: our own blocks for its plain
vision transformers and causal text towers, open_clip's own modules for everything else.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from clip_core import causal_text, vit
from clip_core.compiling import warm_up
from clip_core.errors import BadModel
from clip_core.images import Transform
from clip_core.model_spec import CONFIG_FILE, WEIGHTS_FILE
from clip_core.precision import cast
from clip_core.preprocessing import Preprocessing


class OpenClipText(nn.Module):
    """Any text tower, by open_clip itself."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, ids: Tensor) -> Tensor:
        features: Tensor = self.model.encode_text(ids)
        return features


class OpenClipImage(nn.Module):
    """Any image tower, by open_clip itself."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, pixels: Tensor) -> Tensor:
        features: Tensor = self.model.encode_image(pixels)
        return features


class TextTower:
    """(B, L) int64 token ids → (B, D) float32, not yet normalised. `buckets`: lengths that it cuts a batch to."""

    def __init__(self, module: nn.Module, precision: str) -> None:
        self.module, self.name = module, type(module).__name__
        self.buckets = causal_text.BUCKETS if isinstance(module, causal_text.CausalTextTower) else ()
        cast(module, precision)

    @torch.inference_mode()
    def forward(self, ids: Tensor) -> Tensor:
        features: Tensor = self.module(ids)
        return features.float()

    def warm_up(self, example: Tensor) -> None:
        warm_up(self.forward, example)


class ImageTower:
    """(B, 3, H, W) float32 normalised pixels → (B, D) float32, not yet normalised."""

    def __init__(self, module: nn.Module, precision: str, transform: Transform, size: tuple[int, int]) -> None:
        self.module, self.name = module, type(module).__name__
        self.transform, self.size = transform, size
        self.dtype = cast(module, precision)

    @torch.inference_mode()
    def forward(self, pixels: Tensor) -> Tensor:
        features: Tensor = self.module(pixels.to(self.dtype))
        return features.float()

    def warm_up(self) -> None:
        warm_up(self.forward, torch.zeros(1, 3, *self.size))


def text_module(model: Any) -> nn.Module:
    """Our own forward pass where it computes the same, else open_clip's."""
    tower = causal_text.find_supported(model)
    return OpenClipText(model) if tower is None else causal_text.CausalTextTower(tower)


def image_module(model: Any) -> nn.Module:
    """Our own forward pass where it computes the same, else open_clip's."""
    return vit.VisionTower(model.visual) if vit.is_supported(model.visual) else OpenClipImage(model)


def load_towers(model_dir: Path, kind: str, precision: str) -> tuple[TextTower | None, ImageTower | None]:
    """Build the model that `open_clip_config.json` describes and load the packed weights into it.

    `kind` is text, image or multimodal; the tower that is not asked for is dropped. Raises BadModel.
    """
    model = _build(model_dir)
    _load_weights(model, model_dir / WEIGHTS_FILE, kind)
    transform, size = Preprocessing.of(reference_transform(model)).float32, _size(model.visual)
    if kind == "text":
        model.visual = None
    elif kind == "image":
        _drop_text(model)
    text = TextTower(text_module(model), precision) if kind != "image" else None
    image = ImageTower(image_module(model), precision, transform, size) if kind != "text" else None
    return text, image


def reference_transform(model: Any) -> Transform:
    """open_clip's own evaluation transform for this model."""
    import open_clip
    from open_clip.transform import PreprocessCfg, image_transform_v2

    config = open_clip.get_model_preprocess_cfg(model)
    transform: Transform = image_transform_v2(PreprocessCfg(**config), is_train=False)
    return transform


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


def _drop_text(model: Any) -> None:
    for name in _text_attributes(model):
        setattr(model, name, None)


def _text_attributes(model: nn.Module) -> Iterable[str]:
    return [name for name, _ in model.named_children() if name not in ("visual", "text_decoder")]


def _size(visual: Any) -> tuple[int, int]:
    size = visual.image_size
    return (size, size) if isinstance(size, int) else (int(size[0]), int(size[1]))
