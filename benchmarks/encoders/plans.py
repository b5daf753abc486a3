"""What `python -m benchmarks.encoders` measures of each model, by the device that it runs on."""

from __future__ import annotations

import argparse
import math
from dataclasses import dataclass, replace
from pathlib import PurePath
from typing import Any


@dataclass(frozen=True)
class ModelPlan:
    """`variants`: on a GPU ours uncompiled too, beside what serves.

    `seconds` bounds the run from its first candidate on: what there is no time for is left out, and the report says so.
    """

    model: str
    batches: tuple[int, ...]
    precisions: tuple[str, ...]  # the earlier, the sooner: time may run out
    rounds: int
    serving: bool = False
    quality: bool = False
    variants: bool = False
    threads: int = 2
    device: str = "cpu"
    seconds: float = math.inf


BASE = ModelPlan("ViT-B-32", (1, 8, 16, 32), ("fp32", "bf16", "int8", "int8-static"), 9, serving=True, quality=True)
LARGE = ModelPlan("ViT-L-14", (1, 8, 32), ("bf16", "int8"), 3)
GPU_PRECISIONS = ("bf16", "fp8", "fp16", "fp32")
GPU = ModelPlan(BASE.model, (1, 8, 32, 256, 512, 1024), GPU_PRECISIONS, 5, variants=True, device="cuda", seconds=360)
PLANS = {"cpu": (BASE, LARGE), "cuda": (GPU,)}  # the last one's also for models that have none


def chosen(arguments: argparse.Namespace) -> list[ModelPlan]:
    """A plan for each model asked for, on the device asked for, with what else was said."""
    known = {plan.model: plan for plan in PLANS[arguments.device]}
    given: dict[str, Any] = {"threads": arguments.threads}
    given |= {key: tuple(value) for key in ("batches", "precisions") if (value := getattr(arguments, key))}
    given |= {"rounds": arguments.rounds} if arguments.rounds else {}
    given |= {"seconds": 60 * arguments.minutes} if arguments.minutes else {}
    given |= {key: False for key in ("serving", "variants", "quality") if getattr(arguments, f"no_{key}")}
    return [
        replace(known.get(model, replace(PLANS[arguments.device][-1], model=model)), **given)
        for model in arguments.model or known
    ]


def stem(plan: ModelPlan) -> str:
    """The name of its files of results, without a suffix."""
    device = "" if plan.device == "cpu" else f"-{plan.device}"
    return f"encoders{device}" + ("" if plan.model == BASE.model else f"-{PurePath(plan.model).name.lower()}")
