"""open_clip's evaluation transform in halves: 8-bit pixels by PIL, and the normalisation that a tower may fold in."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from clip_core.errors import BadModel


@dataclass(frozen=True)
class Preprocessing:
    """`geometry` resizes and crops as open_clip does before its ToTensor; `mean` and `std` are of pixels in [0, 1]."""

    geometry: Callable[[Image.Image], Image.Image]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    size: tuple[int, int]  # height and width

    @classmethod
    def from_config(cls, path: Path) -> Preprocessing:
        """Of the `preprocess_cfg` that an archive's `open_clip_config.json` holds whole. Raises BadModel."""
        from open_clip.transform import PreprocessCfg, image_transform_v2

        try:
            config = PreprocessCfg(**json.loads(path.read_text(encoding="utf-8"))["preprocess_cfg"])
            return cls.of(image_transform_v2(config, is_train=False), config.size)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise BadModel(f"{path.name} can't be read: {error}; rebuild with `clipserve archive build`") from error

    @classmethod
    def of_model(cls, model: Any) -> Preprocessing:
        """Of a model that open_clip built."""
        import open_clip
        from open_clip.transform import PreprocessCfg, image_transform_v2

        config = PreprocessCfg(**open_clip.get_model_preprocess_cfg(model))
        return cls.of(image_transform_v2(config, is_train=False), config.size)

    @classmethod
    def of(cls, transform: Any, size: int | Sequence[int]) -> Preprocessing:
        """Split open_clip's transform: PIL's steps, then ToTensor and Normalize. Raises BadModel for any other form."""
        names = [type(step).__name__ for step in getattr(transform, "transforms", ())]
        if len(names) < 2 or "ToTensor" not in names[-2] or names[-1] != "Normalize":
            raise BadModel(f"the model's transform does not end in ToTensor and Normalize, it is {names}")
        *steps, _, normalize = transform.transforms
        height, width = (size, size) if isinstance(size, int) else size
        return cls(_Steps(steps), _three(normalize.mean), _three(normalize.std), (int(height), int(width)))

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


class _Steps:
    def __init__(self, steps: list[Callable[[Image.Image], Image.Image]]) -> None:
        self.steps = steps

    def __call__(self, image: Image.Image) -> Image.Image:
        for step in self.steps:
            image = step(image)
        return image


def _three(values: Any) -> tuple[float, float, float]:
    red, green, blue = (float(value) for value in values)
    return red, green, blue
