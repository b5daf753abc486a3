"""The demo's captioner beside open_clip's captions of the same pictures: scenes that it was never trained on."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from random import Random
from typing import Any

import torch
from rich.console import Console
from torch import Tensor

from benchmarks.captions.open_clip_captions import OpenClipCaptions
from benchmarks.captions.parity import Parity, compare, told_by_open_clip
from clip_core.captions.ask import CaptionAsk
from clip_core.captions.captioner import Captioner
from clip_core.cores import available_cores
from scripts.demo.render import render
from scripts.demo.scenes import UNSEEN, make_scene

FOLDER = Path(__file__).resolve().parents[2] / "archive" / "demo" / "captioner"
BARS = {"tokens_that_differ_demo": (0.0, "≤"), "int8_share_equal_demo": (0.99, "≥")}
PICTURES = 500
BATCHES = (1, 4, 8)
_SIDES = (160, 160)


def measure(console: Console) -> tuple[dict[str, float], dict[str, Any]]:
    """Nothing where the demo has no captioner."""
    if not FOLDER.is_dir():
        console.print("the demo has no captioner here")
        return {}, {}
    threads = available_cores()
    reference = OpenClipCaptions(FOLDER)
    plain, eighths = (Captioner.load(FOLDER, precision=name, threads=threads) for name in ("fp32", "int8"))
    pixels = scenes(plain)
    exact, rounded = {}, Parity()
    for method in ("greedy", "beam"):
        ask = CaptionAsk(method=method, max_tokens=plain.context_length)
        told = told_by_open_clip(reference, pixels, ask, 8)
        exact[method] = sum((compare(told, plain, pixels, ask, batch) for batch in BATCHES), Parity())
        rounded += compare(told, eighths, pixels, ask, 8)
    told_all = {"parity_demo": {method: asdict(parity) for method, parity in exact.items()}}
    console.print(told_all, asdict(rounded))
    figures = {
        "tokens_that_differ_demo": float(sum(parity.tokens_that_differ for parity in exact.values())),
        "int8_share_equal_demo": rounded.share_equal,
    }
    return figures, {**told_all, "int8_demo": asdict(rounded)}


def scenes(captioner: Captioner) -> Tensor:
    """(PICTURES, 3, H, W) uint8"""
    random = Random(11)
    kinds = ("single", "several", "relation")
    pictures = (render(make_scene(random, UNSEEN, random.choice(kinds)), *_SIDES) for _ in range(PICTURES))
    return torch.stack([captioner.transform(picture) for picture in pictures])
