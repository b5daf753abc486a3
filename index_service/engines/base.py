"""What an engine is: something that builds an immutable segment from vectors, and the segment answers searches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple, Protocol, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from clip_core.wire import FloatArray

BoolArray: TypeAlias = NDArray[np.bool_]
IntArray: TypeAlias = NDArray[np.int64]
Found: TypeAlias = tuple[FloatArray, IntArray]
"""scores (B, K) float32, descending, and rows (B, K) int64; places left over hold -inf and -1."""

Metric: TypeAlias = Literal["cosine", "dot"]
"""What a score is. For `cosine` rows and queries are of unit norm; for `dot` they are as they were given."""

METRICS: tuple[Metric, ...] = get_args(Metric)
NO_ROW = -1


class ExactnessCertificate(NamedTuple):
    """How a result is known to be exact; both figures add up to the rows that were allowed.

    `rows_bounded` were ruled out by a bound on their score, `rows_verified` were scored in full precision.
    """

    rows_bounded: int
    rows_verified: int


class Segment(Protocol):
    """An immutable set of rows. `vectors` (N, D) float32 may be a view into the engine's own memory."""

    @property
    def engine(self) -> str:
        """The engine's name, as people ask for it."""
        ...

    @property
    def vectors(self) -> FloatArray:
        """(N, D)."""
        ...

    @property
    def max_norm(self) -> float | None:
        """A bound on the norm of every row; None where rows and queries are of unit norm (see `bounds`)."""
        ...

    def search(self, queries: FloatArray, k: int, mask: BoolArray | None) -> Found:
        """The best `k` rows for each of `queries` (B, D), only among rows where `mask` (N,) is true.

        Scores are float32, each rounded from a float64 dot product, so that equal vectors tie whatever path found
        them; ties go by row. Gives min(k, allowed) rows for each query, and never one that is masked.
        """
        ...

    def cost(self, batch: int) -> int:
        """Multiplications that a search of `batch` queries takes, roughly."""
        ...


class Backend(Protocol):
    """Makes segments for one metric. Build parameters are the backend's; what a query asks for travels with it."""

    @property
    def engine(self) -> str:
        """The name of the segments it makes."""
        ...

    @property
    def metric(self) -> Metric:
        """What their scores are."""
        ...

    def build(self, vectors: FloatArray, cancelled: Callable[[], bool] = lambda: False) -> Segment:
        """(N, D) float32, of unit norm for cosines → a segment.

        Raises BuildCancelled soon after `cancelled()` turns true.
        """
        ...


class BuildCancelled(Exception):
    """The service stops, or the collection was dropped, while a segment was being built."""
