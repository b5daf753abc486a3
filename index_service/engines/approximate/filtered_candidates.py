"""Candidates under a mask: the engine takes the mask, or more candidates are fetched without it and then filtered.

Filtering after the search (overfetching) is faster where the mask allows most rows. A graph needs it, because its links
lead through rows that the mask excludes.
"""

from __future__ import annotations

import math

import numpy as np

from clip_core.wire import FloatArray
from index_service.engines.approximate.candidate_search import CandidateSearch
from index_service.engines.base import NO_ROW, BoolArray, IntArray

_DEVIATIONS = 4  # standard deviations between the expected number of rows and the number that is fetched


def search_allowed(search: CandidateSearch, queries: FloatArray, count: int, effort: int, mask: BoolArray) -> IntArray:
    """Rows (B, ≤ count) that `mask` (N,) allows, by an engine that takes the mask; -1 for none."""
    return _allowed(search.search(queries, count, effort, mask), mask)


def overfetch(
    search: CandidateSearch, queries: FloatArray, wanted: tuple[int, int], effort: int, mask: BoolArray, share: float
) -> tuple[IntArray, BoolArray]:
    """Rows (B, C) that `mask` (N,) allows, -1 for none, and for which queries (B,) they are enough.

    `wanted` is the least and the largest number of rows, `share` the allowed share of all rows. A query has enough rows
    when it has no fewer than a random mask would leave: otherwise the mask may exclude just the rows near the query.
    """
    least, most = wanted
    rows = search.search(queries, overfetch_count(most, share), effort, None)
    fetched = np.count_nonzero(rows >= 0, axis=1)
    by_chance = fetched * share - _DEVIATIONS * np.sqrt(fetched * share * (1 - share))
    rows = _allowed(rows, mask)
    rows = np.take_along_axis(rows, np.argsort(rows < 0, axis=1, kind="stable")[:, :most], axis=1)
    return rows, np.count_nonzero(rows >= 0, axis=1) >= np.minimum(least, by_chance)


def overfetch_count(wanted: int, share: float) -> int:
    """How many rows to fetch so that `wanted` of them are allowed, when a `share` of all rows is."""
    return math.ceil((wanted + _DEVIATIONS * math.sqrt(wanted * (1 - share))) / share)


def _allowed(rows: IntArray, mask: BoolArray) -> IntArray:
    allowed: IntArray = np.where((rows >= 0) & mask[rows], rows, NO_ROW)
    return allowed


def with_replaced(rows: IntArray, positions: IntArray, others: IntArray) -> IntArray:
    """`rows` (B, C) where the queries at `positions` (S,) have `others` (S, M) instead; -1 for none."""
    width = max(rows.shape[1], others.shape[1])
    wide = np.full((len(rows), width), NO_ROW, np.int64)
    wide[:, : rows.shape[1]] = rows
    wide[positions] = NO_ROW
    wide[positions, : others.shape[1]] = others
    return wide
