"""ScaNN: partitions, then anisotropic hashing (Guo et al., arXiv:1908.10396). An optional extra, imported when built.

Its own reordering is left out, since it would hold the vectors a second time: candidates are rescored here anyway.
"""

from __future__ import annotations

import importlib
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from clip_core.wire import FloatArray
from index_service.backends.approximate import ApproximateSegment, Setting, calibrated, ladder
from index_service.backends.base import NO_ROW, BoolArray, BuildCancelled, IntArray
from index_service.backends.exact import ExactSegment

LEAST_ROWS = 1000  # fewer can't fill the codebooks; a scan is as fast
_LEAVES_PER_ROOT = 2
_TRAIN_ROWS = 100_000
_THRESHOLD = 0.2  # anisotropic quantization for unit vectors, as the authors advise
_REORDER = 30


@dataclass(frozen=True)
class ScannSeeker:
    """`searcher` holds N rows; the knob is how many leaves are searched."""

    searcher: Any
    rows: int
    efforts: Sequence[int]
    filters: bool = False
    knob: str = "leaves"

    def seek(self, queries: FloatArray, count: int, effort: int, mask: BoolArray | None) -> IntArray:
        """See `Seeker.seek`; ScaNN has no filters. A missing row comes as 2³² - 1 or with a score of NaN."""
        del mask
        most = min(count, self.rows)
        rows, scores = self.searcher.search_batched(
            np.ascontiguousarray(queries), most, most, min(effort, self.efforts[-1])
        )
        found: IntArray = np.where(np.isfinite(scores) & (rows < self.rows), rows.astype(np.int64), NO_ROW)
        return found


@dataclass(frozen=True)
class ScannBackend:
    """`recall_target`, when set, chooses leaves and reordering by measuring on `queries` (Q, D) or on rows."""

    threads: int = 0
    recall_target: float | None = None
    queries: FloatArray | None = field(default=None, compare=False)

    engine = "scann"

    def build(
        self, vectors: FloatArray, cancelled: Callable[[], bool] = lambda: False
    ) -> ApproximateSegment | ExactSegment:
        """See `Backend.build`. ScaNN builds in one call: `cancelled` is asked before and after it."""
        if len(vectors) < LEAST_ROWS:
            return ExactSegment(vectors)
        if cancelled():
            raise BuildCancelled
        leaves = _LEAVES_PER_ROOT * math.isqrt(len(vectors))
        searcher = self._builder(vectors, leaves).build()
        if cancelled():
            raise BuildCancelled
        seeker = ScannSeeker(searcher, len(vectors), ladder(1, leaves))
        setting = Setting(max(1, leaves // 10), _REORDER)
        segment = ApproximateSegment(self.engine, vectors, seeker, setting, {"leaves": leaves})
        return calibrated(segment, self.queries, self.recall_target)

    def _builder(self, vectors: FloatArray, leaves: int) -> Any:
        scann = importlib.import_module("scann.scann_ops.py.scann_ops_pybind")
        builder = scann.builder(np.ascontiguousarray(vectors), _REORDER, "dot_product")
        builder = builder.set_n_training_threads(self.threads or os.cpu_count() or 1)
        builder = builder.tree(leaves, max(1, leaves // 10), training_sample_size=min(_TRAIN_ROWS, len(vectors)))
        return builder.score_ah(2, anisotropic_quantization_threshold=_THRESHOLD)
