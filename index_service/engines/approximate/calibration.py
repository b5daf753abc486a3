"""Calibration: the cheapest setting that reaches a target for recall, measured against exact results."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from clip_core.wire import FloatArray
from index_service.engines.approximate.approximate import STEP, ApproximateSegment, shares
from index_service.engines.approximate.candidate_search import Setting
from index_service.engines.approximate.retry_policy import LEAST_K, LEAST_USUAL, MANY_K, Usual
from index_service.engines.base import IntArray
from index_service.engines.exact.exact import search_exact

_REORDERS = (1, 2, 3, 5, 8, 12, 20, 30, 50, 100)
_SAMPLE = 64
_USUAL_PLACE = 0.9  # quantile
_UNSEEN = [LEAST_USUAL.unseen * 2**step for step in range(16)]
_CONFIDENCE = 1.645  # standard errors: the one-sided 95 % bound of a normal mean


def calibrated(
    segment: ApproximateSegment, queries: FloatArray | None, target: float | None, k: int = LEAST_K
) -> ApproximateSegment:
    """The segment with the cheapest setting whose recall@k reaches `target`, and the time that a search takes.

    Measured on `queries` (Q, D) when there are enough, else on some of the rows. Without a target the setting stays.
    """
    own = queries is None or len(queries) < _SAMPLE // 2
    sample = _some_rows(segment.vectors) if own or queries is None else queries[-4 * _SAMPLE :]
    if target is not None and len(sample):
        truth = search_exact(segment.vectors, sample, max(k, MANY_K), None, segment.longest)[1]
        setting = _cheapest(segment, sample, truth[:, :k], target)
        recall = round(float(segment.recall(sample, truth[:, :k], setting).mean()), 4)
        measured = {
            "recall_target": target,
            "recall": recall,
            "reached": recall >= target,
            "k": k,
            "queries": len(sample),
            "measured_on": "rows" if own else "queries",
        }
        segment = replace(segment, setting=setting, described={**segment.described, "calibration": measured})
        segment = replace(segment, many=_many(segment, sample, truth, target))
        segment = replace(segment, usual=_usual(segment, sample[-_SAMPLE:], target))
    knobs = {segment.seeker.knob: segment.setting.effort, "reorder": segment.setting.reorder}
    return replace(segment, seconds=_seconds(segment, sample, k), described={**segment.described, "search": knobs})


def _some_rows(vectors: FloatArray) -> FloatArray:
    rows = np.random.default_rng(0).choice(len(vectors), min(_SAMPLE, len(vectors)), replace=False)
    return vectors[np.sort(rows)]


def _cheapest(segment: ApproximateSegment, queries: FloatArray, truth: IntArray, target: float) -> Setting:
    """The least effort with generous reordering, then the least reordering with that effort; else the most of both."""
    reorders = sorted({*_REORDERS, segment.setting.reorder}) if segment.setting.reorder > 1 else [1]
    efforts = segment.seeker.efforts
    effort = _least(efforts, lambda e: _surely(segment.recall(queries, truth, Setting(e, reorders[-1]))) >= target)
    reorder = _least(reorders, lambda r: _surely(segment.recall(queries, truth, Setting(effort, r))) >= target)
    return Setting(effort, reorder)


def _usual(segment: ApproximateSegment, queries: FloatArray, target: float) -> Usual:
    place = float(np.quantile(segment.judged(queries, segment.setting)[1], _USUAL_PLACE))
    return Usual(_least_unseen(segment, queries, target), max(LEAST_USUAL.place, place))


def _least_unseen(segment: ApproximateSegment, queries: FloatArray, target: float) -> float:
    """The most unseen rows, of those seen here, with which a search under a mask is taken for good: recall then still
    reaches the target. Measured with a mask for every other list, on the half of the queries that it harms the most.
    """
    mask = None if segment.seeker.unseen is None else segment.seeker.unseen.half()
    if mask is None or np.count_nonzero(mask) < LEAST_K:
        return LEAST_USUAL.unseen
    truth = search_exact(segment.vectors, queries, LEAST_K, mask, segment.longest)[1]
    expected, recall = [], []
    for effort in _widening(segment):
        unseen, _, found = segment.judged(queries, segment.setting._replace(effort=effort), mask)
        expected.append(unseen)
        recall.append(shares(found, truth))
    harmed = np.argsort(recall[0])[: -(-len(queries) // 2)]
    figures = np.array(expected)[:, harmed], np.array(recall)[:, harmed]
    tried = [most for most in _UNSEEN if most <= np.median(figures[0][0])]
    return max((most for most in tried if _when_taken(*figures, most) >= target), default=LEAST_USUAL.unseen)


def _widening(segment: ApproximateSegment) -> list[int]:
    """The efforts of a search that is asked again and again, before a scan takes no longer."""
    efforts, most = [segment.setting.effort], segment.seeker.efforts[-1]
    while STEP * efforts[-1] < most:
        efforts.append(STEP * efforts[-1])
    return efforts


def _when_taken(expected: FloatArray, recall: FloatArray, most: float) -> float:
    """Mean recall of the first steps (S, B) that expect no more than `most`; where none does, a scan finds all."""
    taken = expected <= most
    first = np.argmax(taken, axis=0)
    return float(np.where(taken.any(axis=0), recall[first, np.arange(recall.shape[1])], 1).mean())


def _many(segment: ApproximateSegment, queries: FloatArray, truth: IntArray, target: float) -> int:
    """The effort that reaches the target for MANY_K hits, the `truth` (Q, ≤ MANY_K): doubled until it does."""
    effort, most = segment.setting.effort, segment.seeker.efforts[-1]
    while effort < most and segment.recall(queries, truth, segment.setting._replace(effort=effort)).mean() < target:
        effort = min(2 * effort, most)
    return effort


def _surely(shares: FloatArray) -> float:
    """What the mean of all queries reaches with 95 % confidence, judged by these `shares` of a few.

    Without that margin a setting would be taken as often as not that only the sample's luck lifts over the target.
    """
    return float(shares.mean() - _CONFIDENCE * shares.std() / math.sqrt(len(shares)))


def _least(values: Sequence[int], reaches: Callable[[int], bool]) -> int:
    """The first of `values` (ascending) that `reaches`, found by halving; the last when none does."""
    low, high = 0, len(values) - 1
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if reaches(values[middle]) else (middle + 1, high)
    return values[low]


def _seconds(segment: ApproximateSegment, sample: FloatArray, k: int) -> float:
    times = []
    for query in sample[:9]:
        started = time.perf_counter()
        segment.search(query[None], k, None)
        times.append(time.perf_counter() - started)
    return min(times, default=0.0)  # whatever else ran meanwhile
