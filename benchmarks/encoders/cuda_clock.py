"""How long a forward pass takes on an NVIDIA GPU."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch

WARM_UPS = 3
LEAST_S, MOST_PASSES = 0.05, 100


class CudaClock:
    """Seconds of a pass, as one of many that follow one another, between two events of the GPU's own clock.

    A pass that the host can't launch as fast as the GPU computes it takes as long as its launches: that is what CUDA
    graphs are measured against. `cuda`: torch.cuda, or what stands in for it.

    Source: https://docs.pytorch.org/docs/stable/notes/cuda.html#asynchronous-execution
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
