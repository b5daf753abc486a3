"""The encoder benchmark's rounds: every engine once at every batch size, so that noise falls on all alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from benchmarks.encoder_peers import peers
from benchmarks.encoder_towers import Subject, just_in_time, towers
from benchmarks.gemm import ceilings

REFERENCE = "open_clip fp32"
SETTLE_S = (
    0.1  # before each timing: thread pools of the engine before spin for a while, on cores that the next one needs
)
Report = Callable[[str], None]
Forward = Callable[[], Tensor]
Key = tuple[str, str, int]  # what, engine, batch


@dataclass(frozen=True)
class Plan:
    """What is measured of a model; `variants`: ours uncompiled and by torch.compile too, beside ahead of time."""

    model: str
    batches: tuple[int, ...]
    precisions: tuple[str, ...]
    rounds: int
    variants: bool
    serving: bool
    threads: int = 2


def candidates(subject: Subject, directory: Path, plan: Plan, report: Report) -> dict[Key, Forward]:
    """Every (what, engine, batch) → one forward pass."""
    model, made = subject.loaded.model, dict[Key, Forward]()
    ours = towers(subject, directory, plan.precisions, plan.variants, report)
    report("exporting for the peers")
    images: dict[str, Callable[[Tensor], Tensor]] = {REFERENCE: model.encode_image}
    images |= peers(model, subject.normal[:2], directory, plan.threads)
    for batch in plan.batches:
        for name, image in images.items():
            made["image", name, batch] = partial(image, subject.normal[:batch])
        for name, each in ours.items():
            made["image", name, batch] = partial(each.image, subject.pixels[:batch])
        for what, ids in {"short text": subject.short, "full text": subject.full}.items():
            made[what, REFERENCE, batch] = partial(model.encode_text, ids[:batch])
            for name, each in ours.items():
                made[what, name, batch] = partial(each.text, ids[:batch])
    if plan.variants:
        batch = main_batch(plan.batches)
        made["image", "ours fp32, torch.compile", batch] = partial(just_in_time(subject), subject.pixels[:batch])
    return made


def main_batch(batches: tuple[int, ...] | set[int]) -> int:
    """The batch that engines are compared at: 16, or the largest measured where that was not."""
    return 16 if 16 in batches else max(batches)


@torch.inference_mode()
def cosines(made: dict[Key, Forward]) -> dict[Key, float]:
    """The smallest cosine to open_clip of each candidate's vectors; running each once also warms it up."""
    references = {(what, batch): made[what, engine, batch]() for what, engine, batch in made if engine == REFERENCE}
    close = {}
    for (what, engine, batch), forward in made.items():
        expected = references[what, batch]
        features = expected if engine == REFERENCE else forward()
        close[what, engine, batch] = float(functional.cosine_similarity(features.double(), expected.double()).min())
    return close


@torch.inference_mode()
def measure(made: dict[Key, Forward], rounds: int, report: Report) -> tuple[dict[Key, list[float]], dict[str, float]]:
    """Seconds of each candidate in each round, and the best GEMM rates seen between the rounds."""
    seconds: dict[Key, list[float]] = {key: [] for key in made}
    best = ceilings()
    for number in range(rounds):
        report(f"round {number + 1} of {rounds}")
        for key, forward in made.items():
            time.sleep(SETTLE_S)
            started = time.perf_counter()
            forward()
            seconds[key].append(time.perf_counter() - started)
        best = {name: max(rate, best[name]) for name, rate in ceilings().items()}
    return seconds, best


def rows(seconds: dict[Key, list[float]], close: dict[Key, float]) -> list[dict[str, Any]]:
    """One row a candidate; `ratio` is the median over the rounds of its rate to open_clip's in the same round."""
    made = []
    for (what, engine, batch), mine in seconds.items():
        theirs = seconds[what, REFERENCE, batch]
        made.append(
            {
                "what": what,
                "engine": engine,
                "batch": batch,
                "items_per_s": batch / statistics.median(mine),
                "ratio": statistics.median(t / m for t, m in zip(theirs, mine, strict=True)),
                "cosine": close[what, engine, batch],
            }
        )
    return made
