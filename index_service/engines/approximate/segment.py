"""An approximate segment: the engine finds candidates, float64 scores them, low-confidence queries are retried.

`CandidateSearch` is the engine. `SearchParameters` are chosen by calibration, with searches without a mask. A mask may
exclude just the rows in the lists nearest to a query. So the answers under a mask are compared with those of
calibration, and queries that look worse are searched for again with a larger effort.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from clip_core.tracing.spans import stage
from clip_core.wire import FloatArray
from index_service.engines.approximate.candidate_search import (
    CandidateSearch,
    ExtensibleSearch,
    SavableSearch,
    SearchParameters,
)
from index_service.engines.approximate.filtered_candidates import (
    overfetch,
    overfetch_count,
    search_allowed,
    with_replaced,
)
from index_service.engines.approximate.retry_policy import (
    CALIBRATED_K,
    LARGE_K,
    LEAST_THRESHOLDS,
    BatchQuery,
    LowConfidence,
    RetryThresholds,
    mean_ranks,
)
from index_service.engines.base import BoolArray, Found, IntArray, Metric
from index_service.engines.bounds import max_norm_of, norms, raised_max_norm
from index_service.engines.exact.rescoring import padded, rescore_all
from index_service.engines.exact.scan import search_exact
from index_service.engines.scaling import normalised, scaled

FEW_ROWS = 2000  # scoring so few rows is faster than a search of an index
SPARSE_SHARE = 0.05  # under this share of allowed rows every engine misses too much: they are scored exactly
_DENSE_SHARE = 0.5  # under it, an engine without masks would have to fetch too many candidates
_CHANCE_SHARE, _LARGE_K_CHANCE_SHARE = 0.3, 0.8  # from which what a random mask leaves of the candidates is good
_MAX_OVERFETCH = 8192  # candidates, beyond which a search with the mask is faster
_DOT_RERANK_FACTOR = 10  # with a mask and norms: codes that tell long rows apart may not tell short ones apart
_MASKED_RERANK_FACTOR = 2  # times as many candidates where the engine takes the mask
_MAX_RERANK_GROWTH = 16  # times the first rerank factor: beyond it a scan is hardly slower
RETRY_FACTOR = 4  # the growth of effort or rerank factor from one try to the next
_SCAN_SPEED = 3  # masked rows of lists that are skipped while one allowed row is scanned
_COST_PER_SECOND = 1e10  # the unit of `Segment.cost` is a tenth of a nanosecond


@dataclass(frozen=True)
class ApproximateSegment:
    """`vectors` (N, D) float32, no longer than `max_norm`, are kept and not copied. Scores are computed from them.

    `candidate_search` holds the vectors times `scale`. `large_k_effort` is the effort for LARGE_K hits; 0: the same as
    for few hits. A partial segment may find fewer rows than wanted, because the other segments have more.
    """

    engine: str
    vectors: FloatArray
    candidate_search: CandidateSearch
    parameters: SearchParameters
    description: dict[str, Any]
    search_seconds: float = 0.0
    max_norm: float | None = None
    scale: float = 1.0
    is_partial: bool = False
    thresholds: RetryThresholds = LEAST_THRESHOLDS
    large_k_effort: int = 0

    def search(
        self, queries: FloatArray, k: int, mask: BoolArray | None, min_scores: FloatArray | None = None
    ) -> Found:
        """See `Segment.search`. Which rows are found is approximate, their scores are exact.

        `min_scores` (B,) are scores of which each query has k in other segments: rows below them may be missed.
        """
        count = len(self.vectors)
        allowed = count if mask is None else int(np.count_nonzero(mask))
        share = allowed / max(count, 1)
        if allowed <= max(FEW_ROWS, SPARSE_SHARE * count, 4 * k) or not self._pays(k, share):
            return search_exact(self.vectors, queries, k, mask, self.max_norm)
        min_scores = np.full(len(queries), -np.inf, np.float32) if min_scores is None else min_scores
        checked_k = k if mask is None else max(k, CALIBRATED_K)
        query = BatchQuery(queries, checked_k, mask, share, min_scores, self._first_parameters(k, mask))
        scores, rows = self._search_with_retries(query)
        return scores[:, :k], rows[:, :k]

    def _pays(self, k: int, share: float) -> bool:
        """Whether the engine is faster than a scan when this `share` of rows is allowed.

        It isn't when an engine that takes no mask, or can't estimate what it missed, had to fetch too many candidates.
        """
        search = self.candidate_search
        if not search.takes_mask:
            return share >= _DENSE_SHARE
        return (
            search.unprobed is not None or overfetch_count(k * self.parameters.rerank_factor, share) <= _MAX_OVERFETCH
        )

    def _first_parameters(self, k: int, mask: BoolArray | None) -> SearchParameters:
        """The parameters of the first try. Beyond CALIBRATED_K hits the effort grows evenly with log(k)."""
        effort, rerank_factor = self.parameters
        if self.large_k_effort > effort and k > CALIBRATED_K:
            growth = self.large_k_effort / effort
            effort = round(effort * growth ** math.log(k / CALIBRATED_K, LARGE_K / CALIBRATED_K))
        long = mask is not None and self.max_norm is not None and self.candidate_search.takes_mask
        return SearchParameters(effort, max(rerank_factor, _DOT_RERANK_FACTOR) if long else rerank_factor)

    def _search_with_retries(self, query: BatchQuery) -> Found:
        """Low-confidence queries are searched for again with larger parameters, and in the end by a scan."""
        found, low = self._search_once(query)
        retried = np.flatnonzero(low.effort | low.rerank)
        if not len(retried):
            return found
        parameters, rest = self._retry_parameters(query, low), query.subset(retried)
        if parameters is None or not (found[1] >= 0).any():  # an engine that finds nothing at all is out of reach
            better = search_exact(self.vectors, rest.queries, rest.k, rest.mask, self.max_norm)
        else:
            better = self._search_with_retries(rest._replace(parameters=parameters, is_retry=True))
        return _with_answers(found, retried, better)

    def _retry_parameters(self, query: BatchQuery, low: LowConfidence) -> SearchParameters | None:
        """The parameters of the next try; None where a scan takes no longer, or a larger effort wouldn't help.

        It doesn't help an engine that can't estimate what it missed: its lists have too few rows for more hits than
        were calibrated, or long rows before those that the mask allows.
        """
        (effort, rerank_factor), estimates = query.parameters, self.candidate_search.unprobed is not None
        factor = 2 if query.mask is None else RETRY_FACTOR
        if not estimates and (query.k > CALIBRATED_K if query.mask is None else self.max_norm is not None):
            return None
        if low.effort.any():
            most = self.candidate_search.efforts[-1]
            slow = estimates and factor * query.effort > _SCAN_SPEED * query.allowed_share * most
            if query.effort >= most or slow:
                return None
            effort *= factor
        if low.rerank.any():
            if rerank_factor >= _MAX_RERANK_GROWTH * self._first_parameters(query.k, query.mask).rerank_factor:
                return None
            rerank_factor *= factor
        return SearchParameters(effort, rerank_factor)

    def _search_once(self, query: BatchQuery) -> tuple[Found, LowConfidence]:
        with stage("candidates"):
            rows, confident = self._candidates(query)
        with stage("rescore"):
            found = rescore_all(self.vectors, query.queries, rows, query.k, self.max_norm)
        short = np.count_nonzero(found[1] >= 0, axis=1) < query.k
        effort = np.zeros_like(short) if self.is_partial else short
        if self.candidate_search.unprobed is None:
            effort |= ~confident
            return found, LowConfidence(
                effort, effort & (query.mask is not None)
            )  # it may have excluded most candidates
        random_share = _CHANCE_SHARE if query.k <= CALIBRATED_K else _LARGE_K_CHANCE_SHARE
        by_chance = query.k <= LARGE_K and query.allowed_share >= random_share
        effort |= self._low_effort(query, found, np.flatnonzero(~confident if by_chance else np.ones_like(confident)))
        return found, LowConfidence(effort, self._low_rerank(query, rows, found, np.flatnonzero(~confident)))

    def _candidates(self, query: BatchQuery) -> tuple[IntArray, BoolArray]:
        """Rows (B, C), -1 for none, and which of the queries (B,) got the expected number of candidates."""
        search, queries, mask = self.candidate_search, self._scaled_queries(query), query.mask
        if mask is None:
            rows = search.search(queries, query.candidates, query.effort, None)
            return rows, np.full(len(rows), not query.is_retry or search.unprobed is None)
        masked, count = search.takes_mask and search.unprobed is not None, query.candidates
        count *= _MASKED_RERANK_FACTOR if self.parameters.rerank_factor > 1 else 1
        if masked and (query.is_retry or overfetch_count(query.candidates, query.allowed_share) > _MAX_OVERFETCH):
            return search_allowed(search, queries, count, query.effort, mask), np.zeros(len(queries), np.bool_)
        least = query._replace(parameters=self._first_parameters(query.k, mask)).candidates
        wanted = (least, query.candidates)
        rows, confident = overfetch(search, queries, wanted, query.effort, mask, query.allowed_share)
        few = np.flatnonzero(~confident)
        if masked and len(few):
            rows = with_replaced(rows, few, search_allowed(search, queries[few], count, query.effort, mask))
        return rows, confident

    def _low_effort(self, query: BatchQuery, found: Found, checked: IntArray) -> BoolArray:
        """(B,): which of the `checked` queries may have better rows among those that were not probed.

        For ten times as many hits as were calibrated about three times as many rows may be expected: fewer of the
        estimated rows are really there further down the order.
        """
        low = np.zeros(len(query.queries), np.bool_)
        low[checked] = True
        threshold = self.thresholds.unprobed * math.sqrt(query.k / CALIBRATED_K)
        for mask in (None,) if query.mask is None else (None, query.mask):  # counting the allowed rows takes longest
            left = np.flatnonzero(low)
            if len(left):
                expected = self._expected_unprobed(query.subset(left), (found[0][left], found[1][left]), mask)
                low[left] = expected > threshold
        return low

    def _low_rerank(self, query: BatchQuery, rows: IntArray, found: Found, checked: IntArray) -> BoolArray:
        """(B,): which of the `checked` queries have hits at any rank of the allowed candidates `rows` (B, C)."""
        low = np.zeros(len(rows), np.bool_)
        if self.parameters.rerank_factor > 1 and query.mask is not None:
            threshold = self.thresholds.mean_rank / _MASKED_RERANK_FACTOR
            low[checked] = mean_ranks(rows[checked], found[1][checked]) > threshold
        return low

    def _expected_unprobed(self, query: BatchQuery, found: Found, mask: BoolArray | None) -> FloatArray:
        """(B,): the expected number of unprobed rows above the worst hit; see `UnprobedRows.expected_above`."""
        if self.candidate_search.unprobed is None:
            return np.zeros(len(query.queries), np.float32)
        min_scores = query.min_scores
        if found[0].shape[1] == query.k:
            min_scores = np.maximum(min_scores, found[0][:, -1])
        if self.max_norm is not None:
            lengths = norms(query.queries)
            min_scores = (min_scores * self.scale / np.where(lengths > 0, lengths, 1)).astype(np.float32)
        queries = self._scaled_queries(query)
        return self.candidate_search.unprobed.expected_above(queries, min_scores, query.effort, mask)

    def _scaled_queries(self, query: BatchQuery) -> FloatArray:
        """(B, D) as the engine takes them: of unit norm."""
        return query.queries if self.max_norm is None else normalised(query.queries)

    @property
    def save(self) -> Callable[[Path], None] | None:
        """Writes the index and its calibration to a file; None where the engine has no file format."""
        if not isinstance(self.candidate_search, SavableSearch):
            return None
        write = self.candidate_search.write
        notes = {
            "described": self.description,
            "seconds": self.search_seconds,
            "setting": list(self.parameters),
            "scale": self.scale,
            "usual": list(self.thresholds),
            "many": self.large_k_effort,
        }
        return lambda path: write(path, notes)

    def empty_copy(self) -> ApproximateSegment | None:
        """A partial segment without rows, to be `extended`; None where the engine can't add rows quickly."""
        search = self.candidate_search.empty_copy() if isinstance(self.candidate_search, ExtensibleSearch) else None
        if search is None:
            return None
        max_norm = None if self.max_norm is None else 0.0
        return replace(self, vectors=self.vectors[:0], candidate_search=search, max_norm=max_norm, is_partial=True)

    def extended(self, vectors: FloatArray) -> ApproximateSegment:
        """A copy over `vectors` (N, D), which begin with its own. The segment itself does not change."""
        assert isinstance(self.candidate_search, ExtensibleSearch)
        new = vectors[len(self.vectors) :]
        search = self.candidate_search.extended(scaled(new, self.scale))
        return replace(self, vectors=vectors, candidate_search=search, max_norm=raised_max_norm(self.max_norm, new))

    def cost(self, batch: int) -> int:
        """See `Segment.cost`: one search costs what was measured at the build, each further query half of that."""
        return int((batch + 1) / 2 * self.search_seconds * _COST_PER_SECOND)

    @property
    def remote(self) -> bool:
        """Whether a search calls another process, which may not answer."""
        return getattr(self.candidate_search, "remote", False)

    def search_unretried(
        self, queries: FloatArray, parameters: SearchParameters, mask: BoolArray | None = None
    ) -> tuple[FloatArray, FloatArray, IntArray]:
        """One search of `queries` (B, D) for CALIBRATED_K hits by an engine that takes `mask` (N,), without retries.

        Returns the expected number of better unprobed rows (B,), the mean rank of the hits (B,) and their rows (B, K).
        """
        share = 1.0 if mask is None else float(mask.mean())
        min_scores = np.full(len(queries), -np.inf, np.float32)
        query = BatchQuery(queries, CALIBRATED_K, mask, share, min_scores, parameters, is_retry=True)
        rows = self._candidates(query)[0]
        found = rescore_all(self.vectors, queries, rows, CALIBRATED_K, self.max_norm)
        return self._expected_unprobed(query, found, mask), mean_ranks(rows, found[1]), found[1]

    def recall(self, queries: FloatArray, truth: IntArray, parameters: SearchParameters) -> FloatArray:
        """(B,) float32: the share of each row of `truth` (B, K) that a search with `parameters` finds."""
        query = BatchQuery(queries, truth.shape[1], None, 1.0, np.empty(0, np.float32), parameters)
        rows = self._candidates(query)[0]
        return recalls(rescore_all(self.vectors, queries, rows, query.k, self.max_norm)[1], truth)


def recalls(found: IntArray, truth: IntArray) -> FloatArray:
    """(B,) float32: the share of each row of `truth` (B, K) that is in `found` (B, any)."""
    each = [len(np.intersect1d(rows, own)) / len(own) for rows, own in zip(found, truth, strict=True)]
    return np.array(each, dtype=np.float32)


def _with_answers(found: Found, positions: IntArray, better: Found) -> Found:
    """`found` with the answers `better` for the queries at `positions`; they may have more or fewer hits."""
    results = list(zip(*found, strict=True))
    for position, result in zip(positions, zip(*better, strict=True), strict=True):
        results[position] = result
    return padded(results, max(found[1].shape[1], better[1].shape[1]))


def restored_segment(
    engine: str, vectors: FloatArray, search: CandidateSearch, notes: dict[str, Any], metric: Metric
) -> ApproximateSegment:
    """The segment of `vectors` (N, D) whose `notes` were saved beside its index. Raises KeyError, TypeError."""
    return ApproximateSegment(
        engine,
        vectors,
        search,
        SearchParameters(*notes["setting"]),
        notes["described"],
        notes["seconds"],
        max_norm_of(vectors, metric),
        notes.get("scale", 1.0),
        thresholds=RetryThresholds(*notes.get("usual", ())),
        large_k_effort=notes.get("many", 0),
    )
