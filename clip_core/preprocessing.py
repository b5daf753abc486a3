"""open_clip's evaluation transform in halves: 8-bit pixels by PIL, and the normalisation that a tower may fold in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
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

    @classmethod
    def of(cls, transform: Any) -> Preprocessing:
        """Split open_clip's transform: PIL's steps, then ToTensor and Normalize. Raises BadModel for any other form."""
        names = [type(step).__name__ for step in getattr(transform, "transforms", ())]
        if len(names) < 2 or "ToTensor" not in names[-2] or names[-1] != "Normalize":
            raise BadModel(f"the model's transform does not end in ToTensor and Normalize, it is {names}")
        *steps, _, normalize = transform.transforms
        return cls(_Steps(steps), _three(normalize.mean), _three(normalize.std))

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
