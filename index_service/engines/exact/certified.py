"""Certified exact search: int8 codes draft, float64 verifies every row that could still be among the k best.

The result equals brute force, provably (see `int8`), at a quarter of the memory traffic. Where a draft can't be
certified, as among thousands of near ties, a larger one is made and in the end every row is scored.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from clip_core.wire import FloatArray
from index_service.engines.base import BoolArray, ExactnessCertificate, Found, IntArray, Metric, Segment
from index_service.engines.bounds import max_norm_of
from index_service.engines.exact.int8 import Int8Codes, Shortlist, encode, load
from index_service.engines.exact.rescoring import padded, rescore
from index_service.engines.exact.scan import search_exact
from index_service.engines.exact.segment import ExactSegment

_DRAFT = 512
_LARGER = 8
_SHARE = 4  # a draft of more than 1/4 of the rows doesn't pay
_FEW_QUERIES = 8  # more are faster as one matrix product


@dataclass(frozen=True)
class CertifiedSegment:
    """`codes` of the `vectors` (N, D), which are kept, not copied, and read only where a draft says so."""

    vectors: FloatArray
    codes: Int8Codes
    engine = "certified"

    @property
    def max_norm(self) -> float | None:
        """See `Segment.max_norm`."""
        return self.codes.max_norm

    def search(self, queries: FloatArray, k: int, mask: BoolArray | None) -> Found:
        """See `Segment.search`."""
        return self.certify(queries, k, mask)[0]

    def certify(self, queries: FloatArray, k: int, mask: BoolArray | None) -> tuple[Found, list[ExactnessCertificate]]:
        """As `search`, with a certificate for each of `queries` (B, D)."""
        allowed = len(self.vectors) if mask is None else int(np.count_nonzero(mask))
        size = int(max(_DRAFT, _LARGER * k) * len(self.vectors) / max(allowed, 1))
        if len(queries) > _FEW_QUERIES or size * _SHARE > len(self.vectors):
            return ExactSegment(self.vectors, self.max_norm).certify(queries, k, mask)
        drafts = self.codes.draft(queries, size)
        results = [self._one(q, k, mask, d, allowed) for q, d in zip(queries, drafts, strict=True)]
        return padded([found for found, _ in results], k), [certificate for _, certificate in results]

    def _one(
        self, query: FloatArray, k: int, mask: BoolArray | None, draft: Shortlist, allowed: int
    ) -> tuple[Found, ExactnessCertificate]:
        while True:
            rows = self._candidates(draft, k, mask)
            found = rescore(self.vectors, query, rows, k)
            if len(found[0]) == k and draft.rest_bound < found[0][-1]:
                return found, ExactnessCertificate(allowed - len(rows), len(rows))
            size = len(draft.rows) * _LARGER
            if size * _SHARE > len(self.vectors):
                scores, places = search_exact(self.vectors, query[None], k, mask, self.max_norm)
                return (scores[0], places[0]), ExactnessCertificate(0, allowed)
            draft = self.codes.draft(query[None], size)[0]

    def _candidates(self, draft: Shortlist, k: int, mask: BoolArray | None) -> IntArray:
        """Rows (ascending) of the draft that may be among the k best, and the outliers."""
        rows, lower, upper = draft.rows, draft.lower, draft.upper
        outliers = self.codes.outliers
        if mask is not None:
            kept = mask[rows]
            rows, lower, upper, outliers = rows[kept], lower[kept], upper[kept], outliers[mask[outliers]]
        if len(rows) > k:
            rows = rows[upper >= np.partition(lower, -k)[-k]]
        return np.union1d(rows, outliers)

    def save(self, path: Path) -> None:
        """Write the codes to `path`."""
        self.codes.save(path)

    def cost(self, batch: int) -> int:
        """See `Segment.cost`: a code is read four times as fast as a vector."""
        return batch * self.vectors.size // 4


class CertifiedBackend:
    """Codes the vectors as they come."""

    engine = "certified"
    apart = True

    def __init__(self, metric: Metric = "cosine") -> None:
        self.metric = metric

    def build(self, vectors: FloatArray, cancelled: Callable[[], bool] = lambda: False) -> CertifiedSegment:
        """See `Backend.build`."""
        return CertifiedSegment(vectors, encode(vectors, cancelled, max_norm_of(vectors, self.metric)))

    def load(self, path: Path, vectors: FloatArray) -> CertifiedSegment:
        """The segment of `vectors` whose codes were saved at `path`; the file is known to be whole."""
        return CertifiedSegment(vectors, load(path, max_norm_of(vectors, self.metric)))


def exact_of(segment: Segment) -> CertifiedSegment | ExactSegment:
    """The same rows, searched exactly: by the segment itself where it is exact, else by a scan of its vectors."""
    if isinstance(segment, (CertifiedSegment, ExactSegment)):
        return segment
    return ExactSegment(segment.vectors, segment.max_norm)
