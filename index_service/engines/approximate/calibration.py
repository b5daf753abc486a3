"""Calibration: the cheapest search parameters that reach a recall target, measured against exact results."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from clip_core.wire import FloatArray
from index_service.engines.approximate.candidate_search import SearchParameters
from index_service.engines.approximate.retry_policy import CALIBRATED_K, LARGE_K, LEAST_THRESHOLDS, RetryThresholds
from index_service.engines.approximate.segment import RETRY_FACTOR, ApproximateSegment, recalls
from index_service.engines.base import IntArray
from index_service.engines.exact.scan import search_exact

_RERANK_FACTORS = (1, 2, 3, 5, 8, 12, 20, 30, 50, 100)
_SAMPLE = 64
_MEAN_RANK_QUANTILE = 0.9
_UNPROBED_THRESHOLDS = [LEAST_THRESHOLDS.unprobed * 2**step for step in range(16)]
_CONFIDENCE = 1.645  # standard errors: the one-sided 95 % bound of a normal mean


def calibrated(segment: ApproximateSegment, queries: FloatArray | None, target: float | None) -> ApproximateSegment:
    """The segment with the cheapest parameters whose recall@CALIBRATED_K reaches `target`, and the time of one search.

    Measured on `queries` (Q, D) when there are enough of them, else on some of the rows. Without a target the
    parameters do not change.
    """
    k = CALIBRATED_K
    by_rows = queries is None or len(queries) < _SAMPLE // 2
    sample = _some_rows(segment.vectors) if by_rows or queries is None else queries[-4 * _SAMPLE :]
    if target is not None and len(sample):
        truth = search_exact(segment.vectors, sample, max(k, LARGE_K), None, segment.max_norm)[1]
        parameters = _cheapest(segment, sample, truth[:, :k], target)
        recall = round(float(segment.recall(sample, truth[:, :k], parameters).mean()), 4)
        measured = {
            "recall_target": target,
            "recall": recall,
            "reached": recall >= target,
            "k": k,
            "queries": len(sample),
            "measured_on": "rows" if by_rows else "queries",
        }
        segment = replace(segment, parameters=parameters, description={**segment.description, "calibration": measured})
        segment = replace(segment, large_k_effort=_large_k_effort(segment, sample, truth, target))
        segment = replace(segment, thresholds=_retry_thresholds(segment, sample[-_SAMPLE:], target))
    effort, rerank_factor = segment.parameters
    shown = {segment.candidate_search.effort_name: effort, "reorder": rerank_factor}
    seconds = _search_seconds(segment, sample, k)
    return replace(segment, search_seconds=seconds, description={**segment.description, "search": shown})


def _some_rows(vectors: FloatArray) -> FloatArray:
    rows = np.random.default_rng(0).choice(len(vectors), min(_SAMPLE, len(vectors)), replace=False)
    return vectors[np.sort(rows)]


def _cheapest(segment: ApproximateSegment, queries: FloatArray, truth: IntArray, target: float) -> SearchParameters:
    """The least effort with the largest rerank factor, then the least rerank factor with that effort.

    The largest of both when none reaches the target.
    """
    own = segment.parameters.rerank_factor
    factors = sorted({*_RERANK_FACTORS, own}) if own > 1 else [1]

    def reaches(effort: int, factor: int) -> bool:
        return _lower_bound(segment.recall(queries, truth, SearchParameters(effort, factor))) >= target

    effort = _least(segment.candidate_search.efforts, lambda each: reaches(each, factors[-1]))
    return SearchParameters(effort, _least(factors, lambda each: reaches(effort, each)))


def _retry_thresholds(segment: ApproximateSegment, queries: FloatArray, target: float) -> RetryThresholds:
    ranks = segment.search_unretried(queries, segment.parameters)[1]
    mean_rank = float(np.quantile(ranks, _MEAN_RANK_QUANTILE))
    return RetryThresholds(_unprobed_threshold(segment, queries, target), max(LEAST_THRESHOLDS.mean_rank, mean_rank))


def _unprobed_threshold(segment: ApproximateSegment, queries: FloatArray, target: float) -> float:
    """The largest number of expected unprobed rows at which searches under a mask still reach the target.

    Measured with a mask for every other list, on the half of the queries whose recall is the lowest.
    """
    mask = None if segment.candidate_search.unprobed is None else segment.candidate_search.unprobed.half_mask()
    if mask is None or np.count_nonzero(mask) < CALIBRATED_K:
        return LEAST_THRESHOLDS.unprobed
    truth = search_exact(segment.vectors, queries, CALIBRATED_K, mask, segment.max_norm)[1]
    expected, recall = [], []
    for effort in _retry_efforts(segment):
        unprobed, _, found = segment.search_unretried(queries, segment.parameters._replace(effort=effort), mask)
        expected.append(unprobed)
        recall.append(recalls(found, truth))
    worst = np.argsort(recall[0])[: -(-len(queries) // 2)]
    figures = np.array(expected)[:, worst], np.array(recall)[:, worst]
    tried = [threshold for threshold in _UNPROBED_THRESHOLDS if threshold <= np.median(figures[0][0])]
    good = (threshold for threshold in tried if _recall_with_retries(*figures, threshold) >= target)
    return max(good, default=LEAST_THRESHOLDS.unprobed)


def _retry_efforts(segment: ApproximateSegment) -> list[int]:
    """The efforts of a search and its retries, up to the one from which a scan takes no longer."""
    efforts, most = [segment.parameters.effort], segment.candidate_search.efforts[-1]
    while RETRY_FACTOR * efforts[-1] < most:
        efforts.append(RETRY_FACTOR * efforts[-1])
    return efforts


def _recall_with_retries(expected: FloatArray, recall: FloatArray, threshold: float) -> float:
    """Mean recall when each query is retried until it expects no more than `threshold` unprobed rows.

    `expected` and `recall` are (steps, B). A query that never gets there is answered by a scan, whose recall is 1.
    """
    confident = expected <= threshold
    first = np.argmax(confident, axis=0)
    return float(np.where(confident.any(axis=0), recall[first, np.arange(recall.shape[1])], 1).mean())


def _large_k_effort(segment: ApproximateSegment, queries: FloatArray, truth: IntArray, target: float) -> int:
    """The effort that reaches the target for LARGE_K hits, the `truth` (Q, ≤ LARGE_K): doubled until it does."""
    effort, most = segment.parameters.effort, segment.candidate_search.efforts[-1]
    while effort < most and segment.recall(queries, truth, segment.parameters._replace(effort=effort)).mean() < target:
        effort = min(2 * effort, most)
    return effort


def _lower_bound(sample: FloatArray) -> float:
    """The mean recall of all queries is at least this with 95 % confidence, given the recall of a `sample` (Q,).

    Without the margin, about half of the chosen parameters would reach the target only by the luck of the sample.
    """
    return float(sample.mean() - _CONFIDENCE * sample.std() / math.sqrt(len(sample)))


def _least(values: Sequence[int], reaches: Callable[[int], bool]) -> int:
    """The first of `values` (ascending) that `reaches`, by bisection; the last when none does."""
    low, high = 0, len(values) - 1
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if reaches(values[middle]) else (middle + 1, high)
    return values[low]


def _search_seconds(segment: ApproximateSegment, sample: FloatArray, k: int) -> float:
    times = []
    for query in sample[:9]:
        started = time.perf_counter()
        segment.search(query[None], k, None)
        times.append(time.perf_counter() - started)
    return min(times, default=0.0)  # the least one is not disturbed by other work
