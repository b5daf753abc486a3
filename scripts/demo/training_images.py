"""The pictures that the demo model is trained on."""

from __future__ import annotations

import multiprocessing
from random import Random

import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from torch import Tensor
from torch.nn import functional

from scripts.demo.render import render
from scripts.demo.scenes import Scene

RENDER_SIZES = ((96, 76), (76, 96), (110, 80), (84, 84))


def _pixels(job: tuple[Scene, int, int]) -> np.ndarray:
    """A scene as preprocessing shows it to the model: rendered, resized, centre-cropped; (64, 64, 3) uint8."""
    from torchvision.transforms import functional as vision

    scene, width, height = job
    small = vision.resize(render(scene, width, height), 64, vision.InterpolationMode.BICUBIC)
    return np.asarray(vision.center_crop(small, [64, 64]))


def render_pool(scenes: list[Scene], seed: int, console: Console) -> Tensor:
    """→ (N, 3, 64, 64) uint8"""
    rng = Random(seed)
    jobs = [(scene, *rng.choice(RENDER_SIZES)) for scene in scenes]
    with multiprocessing.get_context("fork").Pool(2) as pool:
        rows = list(track(pool.imap(_pixels, jobs, chunksize=256), "render", total=len(jobs), console=console))
    return torch.from_numpy(np.stack(rows)).permute(0, 3, 1, 2).contiguous()


def normalise(pixels: Tensor) -> Tensor:
    return (pixels.float() / 255 - 0.5) / 0.5


def shift(images: Tensor, rng: Random) -> Tensor:
    """The whole batch moved by up to 3 pixels: cheap augmentation that keeps every relation true."""
    dx, dy = rng.randint(-3, 3), rng.randint(-3, 3)
    padded = functional.pad(images, (3, 3, 3, 3), mode="replicate")
    return padded[:, :, 3 + dy : 67 + dy, 3 + dx : 67 + dx]
