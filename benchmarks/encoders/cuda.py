"""The encoder benchmark on an NVIDIA GPU: ours in every precision, plain, compiled and as CUDA graphs, and open_clip.

Towers alone: inputs lie in the GPU's memory, and nothing is copied back. What can't be built, captured or run is left
out of the table and named in the report with the reason, and so is what there was no time to compile.

float32 is torch's default: matrix products in full precision, open_clip's one convolution in TF32.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch

from benchmarks.encoders import gemm
from benchmarks.encoders.bars import judge_gpu
from benchmarks.encoders.cuda_clock import CudaClock
from benchmarks.encoders.cuda_ours import Attempts, OurEngines
from benchmarks.encoders.cuda_packages import compile_all
from benchmarks.encoders.cuda_towers import Compiled, Engine, compiled, open_clip_engines
from benchmarks.encoders.rounds import Forward, Key, ModelJob, Row
from clip_core.towers.cuda_graphs import Capture, CudaCapture


def card() -> dict[str, Any]:
    """Name, memory and compute capability of the GPU, and CUDA's release."""
    found = torch.cuda.get_device_properties(torch.cuda.current_device())
    return {
        "name": found.name,
        "memory_gib": round(found.total_memory / 2**30, 1),
        "capability": f"{found.major}.{found.minor}",
        "cuda": torch.version.cuda,
    }


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
    attempts: Attempts = field(default_factory=Attempts)

    def candidates(self, job: ModelJob) -> dict[Key, Forward]:
        self.attempts.seconds |= self.compile_all(job, self.name)
        made: dict[Key, Forward] = {}
        ours = OurEngines(job, self.attempts, self.compiled, self.capture, self.name)
        for engine in (*open_clip_engines(job.subject, job.plan.precisions, self.name), *ours):
            for batch in job.plan.batches:
                made |= self._candidate(engine, batch)
        return made

    def seconds(self, forward: Forward) -> float:
        return self.clock(forward)

    def ceilings(self) -> dict[str, float]:
        return gemm.gpu_ceilings(self.clock, self.name, self.gemm_size)

    def facts(self) -> dict[str, Any]:
        return {"gpu": self.card(), "compile_s": self.attempts.seconds, "left_out": self.attempts.left_out}

    def bars(self, report: dict[str, Any]) -> list[Row]:
        return judge_gpu(report["rows"], report["model"], report["gpu"]["name"])

    @torch.inference_mode()
    def _candidate(self, engine: Engine, batch: int) -> dict[Key, Forward]:
        """Nothing for a batch that the engine does not take or fails at."""
        items = engine.items[:batch]
        if not engine.takes(items):
            return {}
        forward = partial(engine.run, items)
        with self.attempts(f"{engine.what}, {engine.name}, batch {batch}"):
            forward()[0].cpu()  # a kernel's failure shows when something waits for it
            return {(engine.what, engine.name, batch): forward}
        return {}
