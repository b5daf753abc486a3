"""When the answer of an approximate search has low confidence and is searched for again."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from clip_core.wire import FloatArray
from index_service.engines.approximate.candidate_search import SearchParameters
from index_service.engines.base import BoolArray, IntArray

CALIBRATED_K = 10  # recall is calibrated for 10 hits; fewer hits need as many candidates
LARGE_K = 100  # the effort for 100 hits is calibrated too


class RetryThresholds(NamedTuple):
    """What a good answer may have, as calibration found it. The defaults are the lowest thresholds.

    `unprobed` is the expected number of unprobed rows that are better than the tenth hit. `mean_rank` is the mean rank
    of the hits among the candidates without a mask, in the engine's order, as a share of their number.
    """

    unprobed: float = 0.5
    mean_rank: float = 0.25


LEAST_THRESHOLDS = RetryThresholds()


class LowConfidence(NamedTuple):
    """(B,) bool each: too few rows may have been probed (`effort`), or too few candidates scored (`rerank`)."""

    effort: BoolArray
    rerank: BoolArray


class BatchQuery(NamedTuple):
    """One search of a segment: `k` hits for each of `queries` (B, D) with scores above `min_scores` (B,).

    `mask` (N,) allows some rows, `allowed_share` of all.
    """

    queries: FloatArray
    k: int
    mask: BoolArray | None
    allowed_share: float
    min_scores: FloatArray
    parameters: SearchParameters
    is_retry: bool = False

    def subset(self, positions: IntArray) -> BatchQuery:
        """The queries at these positions (S,)."""
        return self._replace(queries=self.queries[positions], min_scores=self.min_scores[positions])

    @property
    def candidates(self) -> int:
        """The number of candidates scored for each query."""
        return max(self.k, CALIBRATED_K) * self.parameters.rerank_factor

    @property
    def effort(self) -> int:
        """The effort for all rows; masked rows use up effort as allowed ones do."""
        return int(self.parameters.effort / self.allowed_share)


def mean_ranks(candidates: IntArray, found: IntArray) -> FloatArray:
    """(B,) float32: the mean rank of the rows `found` (B, K) among `candidates` (B, C), as a share of their number.

    It is small where the engine's codes rank the best rows first, and near 0.5 where they can't tell them from others.
    """
    shares = np.empty(len(candidates), np.float32)
    for i, (own, best) in enumerate(zip(candidates, found, strict=True)):
        valid = own[own >= 0]
        ranks = np.flatnonzero(np.isin(valid, best))
        shares[i] = ranks.mean() / len(valid) if len(ranks) else 0
    return shares
