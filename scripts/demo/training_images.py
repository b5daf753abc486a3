"""The pictures that the demo model is trained on."""

from __future__ import annotations

import multiprocessing
from functools import partial
from random import Random
from typing import Protocol

import numpy as np
import torch
from PIL import Image
from rich.console import Console
from rich.progress import track
from torch import Tensor
from torch.nn import functional

from scripts.demo.render import render
from scripts.demo.scenes import Scene

RENDER_SIZES = ((96, 76), (76, 96), (110, 80), (84, 84))


class Draw(Protocol):
    """A hand that draws a scene."""

    def __call__(self, scene: Scene, rng: Random) -> Image.Image: ...


def rendered(scene: Scene, rng: Random) -> Image.Image:
    """As the gallery shows it."""
    return render(scene, *rng.choice(RENDER_SIZES))


def _pixels(draw: Draw, job: tuple[Scene, int]) -> np.ndarray:
    """A scene as preprocessing shows it to the model; (64, 64, 3) uint8."""
    scene, seed = job
    return _preprocessed(draw(scene, Random(seed)))


def _preprocessed(picture: Image.Image) -> np.ndarray:
    from torchvision.transforms import functional as vision

    small = vision.resize(picture, 64, vision.InterpolationMode.BICUBIC)
    return np.asarray(vision.center_crop(small, [64, 64]))


def as_pixels(pictures: list[Image.Image]) -> Tensor:
    """→ (N, 3, 64, 64) uint8"""
    return torch.from_numpy(np.stack([_preprocessed(each) for each in pictures])).permute(0, 3, 1, 2).contiguous()


def image_pool(scenes: list[Scene], draw: Draw, seed: int, console: Console, processes: int = 2) -> Tensor:
    """→ (N, 3, 64, 64) uint8"""
    rng = Random(seed)
    jobs = [(scene, rng.getrandbits(32)) for scene in scenes]
    with multiprocessing.get_context("fork").Pool(processes) as pool:
        rows = list(track(pool.imap(partial(_pixels, draw), jobs, 256), "draw", total=len(jobs), console=console))
    return torch.from_numpy(np.stack(rows)).permute(0, 3, 1, 2).contiguous()


def normalise(pixels: Tensor) -> Tensor:
    return (pixels.float() / 255 - 0.5) / 0.5


def shift(images: Tensor, rng: Random) -> Tensor:
    """The whole batch moved by up to 3 pixels: cheap augmentation that keeps every relation true."""
    dx, dy = rng.randint(-3, 3), rng.randint(-3, 3)
    padded = functional.pad(images, (3, 3, 3, 3), mode="replicate")
    return padded[:, :, 3 + dy : 67 + dy, 3 + dx : 67 + dx]
