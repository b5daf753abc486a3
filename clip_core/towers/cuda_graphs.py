"""A tower's forward pass as CUDA graphs: one launch for a small batch that would else wait for hundreds.

A graph is bound to its shapes and to its memory. So each size of batch that is worth one is captured at warm-up, into
one pool; a batch is copied into the graph of the next size, which recomputes what an earlier batch left in the rows
after it, and what comes out is cloned. Whatever has no graph runs plainly.

Source: https://docs.pytorch.org/docs/stable/notes/cuda.html#cuda-graphs
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from clip_core.towers.compiling import Forward

BATCHES = (1, 2, 4, 8, 12, 16, 24, 32, 48, 64)  # larger ones keep a GPU busy for longer than their launches take
MOST_PADDED = 2  # times the rows of a batch that its graph may compute
WARM_UPS = 3  # before a capture: cuBLAS and Triton choose and set up what may not be captured
log = logging.getLogger("clipserve.cuda_graphs")


@dataclass(frozen=True)
class Graph:
    """`replay` computes `output` (B, D) from what `held` (B, …) holds; both stay where they are."""

    held: Tensor
    output: Tensor
    replay: Callable[[], object]


Capture = Callable[[Forward, Tensor], Graph]


class CudaCapture:
    """Captures on the GPU that holds the batch; all of its graphs share a pool of memory. Raises RuntimeError."""

    def __init__(self) -> None:
        self._pool: Any = None

    def __call__(self, run: Forward, batch: Tensor) -> Graph:
        held = batch.clone()
        with torch.cuda.device(batch.device):
            _run_aside(run, held)
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph, pool=self._pool):
                output = run(held)
            self._pool = graph.pool()
        return Graph(held, output, graph.replay)


def _run_aside(run: Forward, batch: Tensor) -> None:
    """On a stream of its own, as a capture's first runs must be."""
    here, aside = torch.cuda.current_stream(), torch.cuda.Stream()  # type: ignore[no-untyped-call]
    aside.wait_stream(here)
    with torch.cuda.stream(aside):
        for _ in range(WARM_UPS):
            run(batch)
    here.wait_stream(aside)


class GraphedForward:
    """`run` by graphs for the shapes that were captured, by itself for all others; same inputs, same outputs."""

    def __init__(self, run: Forward, capture: Capture | None = None) -> None:
        self.run = run
        self._capture = CudaCapture() if capture is None else capture
        self._graphs: dict[tuple[int, ...], Graph] = {}
        self.failure: str | None = None  # why there is no graph from some shape on
        self._lock = threading.Lock()

    def capture(self, example: Tensor) -> None:
        """`example` (1, …) on the GPU: a graph for each of BATCHES. The first that fails is logged and is the last."""
        for size in sorted(BATCHES, reverse=True):  # the pool that the largest made holds all others
            if self.failure is not None:
                return
            batch = example.expand(size, *example.shape[1:]).contiguous()
            try:
                self._graphs[tuple(batch.shape)] = self._capture(self.run, batch)
            except RuntimeError as error:  # out of memory, or an operation that can't be captured
                self.failure = str(error)[:300]
                extra = {"shape": list(batch.shape), "reason": self.failure}
                log.warning("no CUDA graph from this shape on", extra=extra)

    def __call__(self, batch: Tensor) -> Tensor:
        graph = self._fitting(batch)
        if graph is None:
            return self.run(batch)
        with self._lock:  # between copying in and cloning out the graph's memory belongs to this batch
            graph.held[: len(batch)].copy_(batch)
            graph.replay()
            return graph.output[: len(batch)].clone()

    def has_graph(self, batch: Tensor) -> bool:
        return self._fitting(batch) is not None

    def _fitting(self, batch: Tensor) -> Graph | None:
        """The least captured batch of such items that holds this one, unless most of it would be padding."""
        rows, item = len(batch), batch.shape[1:]
        sizes = (size for size in BATCHES if rows <= size <= MOST_PADDED * rows)
        shapes = ((size, *item) for size in sizes)
        return next((self._graphs[shape] for shape in shapes if shape in self._graphs), None)
