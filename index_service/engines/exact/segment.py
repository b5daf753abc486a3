"""The exact engine: every allowed row is scored."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from clip_core.wire import FloatArray
from index_service.engines.base import BoolArray, ExactnessCertificate, Found, Metric
from index_service.engines.bounds import max_norm_of
from index_service.engines.exact.scan import search_exact


class ExactSegment:
    """Scans all rows. `vectors` (N, D) float32, no longer than `max_norm`, are kept and not copied."""

    engine = "exact"

    def __init__(self, vectors: FloatArray, max_norm: float | None = None) -> None:
        self.vectors, self.max_norm = vectors, max_norm

    def search(self, queries: FloatArray, k: int, mask: BoolArray | None) -> Found:
        """See `Segment.search`."""
        return search_exact(self.vectors, queries, k, mask, self.max_norm)

    def certify(self, queries: FloatArray, k: int, mask: BoolArray | None) -> tuple[Found, list[ExactnessCertificate]]:
        """As `search`, with a certificate for each of `queries`: every allowed row was scored."""
        allowed = len(self.vectors) if mask is None else int(np.count_nonzero(mask))
        return self.search(queries, k, mask), [ExactnessCertificate(0, allowed)] * len(queries)

    def cost(self, batch: int) -> int:
        """See `Segment.cost`."""
        return batch * self.vectors.size


class ExactBackend:
    """Keeps the vectors as they are."""

    engine = "exact"

    def __init__(self, metric: Metric = "cosine") -> None:
        self.metric = metric

    def build(self, vectors: FloatArray, cancelled: Callable[[], bool] = lambda: False) -> ExactSegment:
        """See `Backend.build`. It takes no time, so it is never cancelled."""
        del cancelled
        return ExactSegment(vectors, max_norm_of(vectors, self.metric))
