"""The encoder benchmark on an NVIDIA GPU: ours in every precision, plain, compiled and as CUDA graphs, and open_clip.

Towers alone: inputs lie in the GPU's memory, and nothing is copied back. What can't be built, captured or run is left
out of the table and named in the report with the reason, and so is what there was no time to compile. float32 is
torch's default: matrix products in full precision, open_clip's one convolution in TF32.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch

from benchmarks.encoders import gemm
from benchmarks.encoders.bars import judge_gpu
from benchmarks.encoders.cuda_packages import COMPILING, compile_all
from benchmarks.encoders.cuda_towers import PARTS, Compiled, Engine, OurTower, compiled, open_clip_engines, package
from benchmarks.encoders.rounds import Forward, Key, ModelJob, Row
from clip_core.towers.cuda_graphs import Capture, CudaCapture, GraphedForward

WARM_UPS, LEAST_S, MOST_PASSES = 3, 0.05, 100


class CudaClock:
    """Seconds of a pass, as one of many that follow one another, between two events of the GPU's own clock.

    A pass that the host can't launch as fast as the GPU computes it takes as long as its launches: that is what CUDA
    graphs are measured against. Source: https://docs.pytorch.org/docs/stable/notes/cuda.html#asynchronous-execution
    """

    def __init__(self, cuda: Any = torch.cuda) -> None:
        self._cuda = cuda

    def __call__(self, forward: Callable[[], object]) -> float:
        """The first passes bring the GPU's frequency up and say how many fill LEAST_S."""
        about = self._run(forward, WARM_UPS)
        return self._run(forward, min(MOST_PASSES, max(1, math.ceil(LEAST_S / max(about, 1e-9)))))

    def _run(self, forward: Callable[[], object], passes: int) -> float:
        begin, end = self._cuda.Event(enable_timing=True), self._cuda.Event(enable_timing=True)
        self._cuda.synchronize()
        begin.record()
        for _ in range(passes):
            forward()
        end.record()
        end.synchronize()  # elapsed_time may not be asked before
        return float(begin.elapsed_time(end)) / 1000 / passes


def card() -> dict[str, Any]:
    """Name, memory and compute capability of the GPU, and CUDA's release."""
    found = torch.cuda.get_device_properties(torch.cuda.current_device())
    memory, capability = round(found.total_memory / 2**30, 1), f"{found.major}.{found.minor}"
    return {"name": found.name, "memory_gib": memory, "capability": capability, "cuda": torch.version.cuda}


@dataclass
class Cuda:
    """Its collaborators are given, so that all but the GPU's own work runs on a CPU too."""

    name: str = "cuda"
    clock: Callable[[Forward], float] = field(default_factory=CudaClock)
    capture: Callable[[], Capture] = CudaCapture
    compile_all: Callable[[ModelJob, str], dict[str, float]] = compile_all
    compiled: Compiled = compiled
    card: Callable[[], dict[str, Any]] = card
    gemm_size: int = gemm.GPU_SIZE
    compile_s: dict[str, float] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)

    def candidates(self, job: ModelJob) -> dict[Key, Forward]:
        self.compile_s |= self.compile_all(job, self.name)
        made: dict[Key, Forward] = {}
        for engine in (*open_clip_engines(job.subject, job.plan.precisions, self.name), *self._ours(job)):
            for batch in job.plan.batches:
                made |= self._candidate(engine, batch)
        return made

    def seconds(self, forward: Forward) -> float:
        return self.clock(forward)

    def ceilings(self) -> dict[str, float]:
        return gemm.gpu_ceilings(self.clock, self.name, self.gemm_size)

    def facts(self) -> dict[str, Any]:
        return {"gpu": self.card(), "compile_s": self.compile_s, "left_out": self.left_out}

    def bars(self, report: dict[str, Any]) -> list[Row]:
        return judge_gpu(report["rows"], report["model"], report["gpu"]["name"])

    @contextlib.contextmanager
    def _attempt(self, label: str) -> Iterator[None]:
        """One engine's failure is a line of the report, not the end of the run."""
        try:
            yield
        except Exception as error:  # torch, Triton, torchao and the driver raise many kinds
            self.left_out[label] = f"{type(error).__name__}: {str(error)[:300]}"

    @torch.inference_mode()
    def _candidate(self, engine: Engine, batch: int) -> dict[Key, Forward]:
        """Nothing for a batch that the engine does not take or fails at."""
        items = engine.items[:batch]
        if not engine.takes(items):
            return {}
        forward = partial(engine.run, items)
        with self._attempt(f"{engine.what}, {engine.name}, batch {batch}"):
            forward()[0].cpu()  # a kernel's failure shows when something waits for it
            return {(engine.what, engine.name, batch): forward}
        return {}

    def _ours(self, job: ModelJob) -> Iterator[Engine]:
        """By importance: pictures before texts, precisions in the plan's order, since compiling ends in time."""
        for what in PARTS:
            for precision in job.plan.precisions:
                job.say(f"{what}, {precision}")
                for engine in self._ways(job, what, precision):
                    yield engine
                    yield self._graphed(engine)

    def _ways(self, job: ModelJob, what: str, precision: str) -> list[Engine]:
        """Plain and compiled; what this GPU or torch can't have is left out."""
        made: list[Engine] = []
        with self._attempt(f"{what}, ours {precision}"):
            tower = OurTower.build(job.subject, what, precision, self.name)
            if job.plan.variants:
                made.append(Engine(what, f"ours {precision}, eager", tower.module, tower.items))
            made.append(Engine(what, f"ours {precision}", self._packaged(job, tower), tower.items))
        return made

    def _packaged(self, job: ModelJob, tower: OurTower) -> Callable[[torch.Tensor], torch.Tensor]:
        path, started = package(job.directory, tower.what, tower.precision), time.monotonic()
        there = path.exists()
        if not there and job.deadline.passed(COMPILING):
            raise TimeoutError("no time was left to compile it")
        run = self.compiled(tower, path, self.name)
        if not there:
            self.compile_s[f"{tower.what}, ours {tower.precision}"] = round(time.monotonic() - started, 1)
        return run

    def _graphed(self, engine: Engine) -> Engine:
        """The same pass for the batches that a graph holds: for none where no capture succeeded."""
        graphed, name = GraphedForward(engine.run, self.capture()), f"{engine.name}, graphs"
        with self._attempt(f"{engine.what}, {name}"), torch.inference_mode():
            graphed.capture(engine.items[:1])
        if graphed.failure is not None:
            self.left_out[f"{engine.what}, {name}"] = graphed.failure
        return replace(engine, name=name, run=graphed, takes=graphed.has_graph)
