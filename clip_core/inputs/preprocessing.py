"""open_clip's evaluation transform in halves: 8-bit pixels by PIL, and the normalisation that a tower may fold in."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from clip_core.errors import BadModel
from clip_core.inputs.geometry import INTERPOLATIONS, MODES, Geometry


@dataclass(frozen=True)
class Preprocessing:
    """`geometry` resizes and crops as open_clip does before its ToTensor; `mean` and `std` are of pixels in [0, 1]."""

    geometry: Geometry
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        return self.geometry.size

    @classmethod
    def from_config(cls, path: Path) -> Preprocessing:
        """Of the `preprocess_cfg` that an archive's `open_clip_config.json` holds whole. Raises BadModel."""
        try:
            return cls.parse(json.loads(path.read_text(encoding="utf-8"))["preprocess_cfg"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise BadModel(f"{path.name} can't be read: {error}; rebuild with `clipserve archive build`") from error

    @classmethod
    def of_model(cls, model: Any) -> Preprocessing:
        """Of a model that open_clip built. Raises BadModel."""
        import open_clip
        from open_clip.transform import PreprocessCfg

        config = PreprocessCfg(**open_clip.get_model_preprocess_cfg(model))
        try:
            return cls.parse(vars(config))
        except (ValueError, TypeError) as error:
            raise BadModel(f"the model's preprocessing is not known here: {error}") from error

    @classmethod
    def parse(cls, config: Mapping[str, Any]) -> Preprocessing:
        """open_clip's `PreprocessCfg` as a mapping, all of it. Raises ValueError or TypeError."""
        known = {"size", "mode", "mean", "std", "interpolation", "resize_mode", "fill_color"}
        if set(config) != known or config["mode"] != "RGB":
            raise ValueError(f"preprocess_cfg has the keys {sorted(known)} and the mode RGB, not {dict(config)}")
        if config["resize_mode"] not in MODES or config["interpolation"] not in INTERPOLATIONS:
            raise ValueError(f"resize_mode is one of {MODES}, interpolation one of {INTERPOLATIONS}")
        size = config["size"]
        height, width = (size, size) if isinstance(size, int) else size
        geometry = Geometry(
            (int(height), int(width)), config["resize_mode"], config["interpolation"], int(config["fill_color"])
        )
        return cls(geometry, _three(config["mean"]), _three(config["std"]))

    def uint8(self, image: Image.Image) -> Tensor:
        """RGB image → (3, H, W) uint8: the very pixels that open_clip normalises."""
        pixels = np.asarray(self.geometry(image))
        planes = np.empty((3, *pixels.shape[:2]), np.uint8)
        np.copyto(planes, pixels.transpose(2, 0, 1))
        return torch.from_numpy(planes)

    def normalize(self, pixels: Tensor) -> Tensor:
        """(…, 3, H, W) uint8 → float32, to the bit what open_clip's ToTensor and Normalize give."""
        mean, std = (torch.tensor(value, device=pixels.device).view(3, 1, 1) for value in (self.mean, self.std))
        return pixels.to(torch.float32).div_(255).sub_(mean).div_(std)

    def float32(self, image: Image.Image) -> Tensor:
        """RGB image → (3, H, W) float32, normalised: open_clip's own transform as a whole."""
        return self.normalize(self.uint8(image))


def _three(values: float | Sequence[float]) -> tuple[float, float, float]:
    red, green, blue = (float(value) for value in ([values] * 3 if isinstance(values, int | float) else values))
    return red, green, blue
