"""The encoder benchmark's rounds: every engine once at every batch size, so that noise falls on all alike."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn import functional

from benchmarks.encoders.plans import ModelPlan
from benchmarks.encoders.towers import Report, Subject

REFERENCE = "open_clip fp32"
Forward = Callable[[], Tensor]
Key = tuple[str, str, int]  # what, engine, batch
Row = dict[str, Any]


class Deadline:
    """How much of `seconds` has passed since it was made."""

    def __init__(self, seconds: float = math.inf, now: Callable[[], float] = time.monotonic) -> None:
        self._seconds, self._now, self._started = seconds, now, now()

    def passed(self, share: float = 1.0) -> bool:
        return self.left(share) < 0

    def left(self, share: float = 1.0) -> float:
        """Seconds until then; under 0 past it, infinite where there is no end."""
        return self._started + share * self._seconds - self._now()


@dataclass(frozen=True)
class ModelJob:
    """What is measured: a model as its plan says. `directory` keeps packages and exports."""

    plan: ModelPlan
    subject: Subject
    directory: Path
    deadline: Deadline
    say: Report


class Device(Protocol):
    """All that differs between a CPU (`cpu.py`) and an NVIDIA GPU (`cuda.py`)."""

    def candidates(self, job: ModelJob) -> dict[Key, Forward]: ...  # one forward pass each, REFERENCE among them
    def seconds(self, forward: Forward) -> float: ...  # of one pass
    def ceilings(self) -> dict[str, float]: ...  # GFLOP/s of matrix products by type
    def facts(self) -> dict[str, Any]: ...  # what stands in the report beside the figures
    def bars(self, report: dict[str, Any]) -> list[Row]: ...


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
def measure(
    made: dict[Key, Forward], device: Device, rounds: int, deadline: Deadline, say: Report
) -> tuple[dict[Key, list[float]], dict[str, float]]:
    """Seconds of each candidate in each round, and the best GEMM rates seen between the rounds.

    Past the deadline no other round begins, but there is always one.
    """
    seconds: dict[Key, list[float]] = {key: [] for key in made}
    best = device.ceilings()
    for number in range(rounds):
        if number and deadline.passed():
            break
        say(f"round {number + 1} of {rounds}")
        for key, forward in made.items():
            seconds[key].append(device.seconds(forward))
        best = {name: max(rate, best.get(name, 0.0)) for name, rate in device.ceilings().items()}
    return seconds, best


def rows(seconds: dict[Key, list[float]], close: dict[Key, float]) -> list[Row]:
    """One row a candidate; `ratio` is the median over the rounds of its rate to open_clip's in the same round."""
    made = []
    for (what, engine, batch), mine in seconds.items():
        ratios = (t / m for t, m in zip(seconds[what, REFERENCE, batch], mine, strict=True))
        row = {"what": what, "engine": engine, "batch": batch, "items_per_s": batch / statistics.median(mine)}
        made.append({**row, "ratio": statistics.median(ratios), "cosine": close[what, engine, batch]})
    return made
