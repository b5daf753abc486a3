"""Our towers on a GPU in each precision: plain, compiled ahead of time, and each of these as CUDA graphs too."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import torch

from benchmarks.encoders.cuda_packages import COMPILING, Package
from benchmarks.encoders.cuda_towers import PARTS, Compiled, Engine, OurTower
from benchmarks.encoders.rounds import ModelJob
from clip_core.towers.compiling import Forward
from clip_core.towers.cuda_graphs import Capture, GraphedForward


@dataclass
class Attempts:
    """What could not be had, with the reason: one engine's failure is a line of the report, not the end of the run."""

    left_out: dict[str, str] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)  # of what took long and was had

    @contextlib.contextmanager
    def __call__(self, label: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # torch, Triton, torchao and the driver raise many kinds
            self.left_out[label] = f"{type(error).__name__}: {str(error)[:300]}"

    @contextlib.contextmanager
    def timed(self, label: str) -> Iterator[None]:
        started = time.monotonic()
        with self(label):
            yield
            self.seconds[label] = round(time.monotonic() - started, 1)


@dataclass(frozen=True)
class OurEngines:
    """By importance: pictures before texts, precisions in the plan's order, since compiling ends when its time does."""

    job: ModelJob
    attempts: Attempts
    compiled: Compiled
    capture: Callable[[], Capture]
    device: str

    def __iter__(self) -> Iterator[Engine]:
        for what in PARTS:
            for precision in self.job.plan.precisions:
                self.job.say(f"{what}, {precision}")
                yield from self._engines(what, precision)

    def _engines(self, what: str, precision: str) -> Iterator[Engine]:
        for tower in self._built(what, precision):
            for name, run in self._ways(tower):
                yield Engine(what, name, run, tower.items)
                yield self._graphed(Engine(what, f"{name}, graphs", run, tower.items))

    def _built(self, what: str, precision: str) -> list[OurTower]:
        """One, or none where this GPU or torch can't have it."""
        with self.attempts(f"{what}, ours {precision}"):
            return [OurTower.build(self.job.subject, what, precision, self.device)]
        return []

    def _ways(self, tower: OurTower) -> Iterator[tuple[str, Forward]]:
        if self.job.plan.variants:
            yield f"ours {tower.precision}, eager", tower.module
        yield from self._packaged(tower)

    def _packaged(self, tower: OurTower) -> list[tuple[str, Forward]]:
        package = Package(tower.what, tower.precision)
        path = package.path(self.job.directory)
        there = path.exists()
        with self.attempts(package.label) if there else self.attempts.timed(package.label):
            if self.job.deadline.passed(COMPILING) and not there:
                raise TimeoutError("no time was left to compile it")
            return [(package.label.partition(", ")[2], self.compiled(tower, path, self.device))]
        return []

    def _graphed(self, engine: Engine) -> Engine:
        """The same pass for the batches that a graph holds: for none where no capture succeeded."""
        graphed = GraphedForward(engine.run, self.capture())
        label = f"{engine.what}, {engine.name}"
        with self.attempts(label), torch.inference_mode():
            graphed.capture(engine.items[:1])
        if graphed.failure is not None:
            self.attempts.left_out[label] = graphed.failure
        return replace(engine, run=graphed, takes=graphed.has_graph)
