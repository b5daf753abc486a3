"""Candidates under a mask. An engine looks at it, or is asked for more of them without it: that is faster where most
rows are allowed, and the one way for a graph, whose links lead through rows that aren't.
"""

from __future__ import annotations

import math

import numpy as np

from clip_core.wire import FloatArray
from index_service.engines.approximate.candidate_search import Seeker
from index_service.engines.base import NO_ROW, BoolArray, IntArray

_SURE = 4  # standard deviations


def looked_at(seeker: Seeker, queries: FloatArray, count: int, effort: int, mask: BoolArray) -> IntArray:
    """(B, ≤ count) rows that `mask` (N,) allows, -1 for none."""
    return _allowed(seeker.seek(queries, count, effort, mask), mask)


def asked_for_more(
    seeker: Seeker, queries: FloatArray, wanted: tuple[int, int], effort: int, mask: BoolArray, share: float
) -> tuple[IntArray, BoolArray]:
    """(B, C) rows that `mask` (N,) allows, -1 for none, and for which queries (B,) they are no fewer than chance leaves
    of a `share`: else the mask may be about just what the query is about. `wanted`: the least of them, and the most.
    """
    least, most = wanted
    rows = seeker.seek(queries, enough(most, share), effort, None)
    found = np.count_nonzero(rows >= 0, axis=1)
    chance = found * share - _SURE * np.sqrt(found * share * (1 - share))
    rows = _allowed(rows, mask)
    rows = np.take_along_axis(rows, np.argsort(rows < 0, axis=1, kind="stable")[:, :most], axis=1)
    return rows, np.count_nonzero(rows >= 0, axis=1) >= np.minimum(least, chance)


def enough(wanted: int, share: float) -> int:
    """How many rows are to be found for so many allowed ones."""
    return math.ceil((wanted + _SURE * math.sqrt(wanted * (1 - share))) / share)


def _allowed(rows: IntArray, mask: BoolArray) -> IntArray:
    allowed: IntArray = np.where((rows >= 0) & mask[rows], rows, NO_ROW)
    return allowed


def widened(rows: IntArray, at: IntArray, more: IntArray) -> IntArray:
    """`rows` (B, C), where the queries `at` these places have `more` (few, M) instead; -1 for none."""
    width = max(rows.shape[1], more.shape[1])
    wide = np.full((len(rows), width), NO_ROW, np.int64)
    wide[:, : rows.shape[1]] = rows
    wide[at] = NO_ROW
    wide[at, : more.shape[1]] = more
    return wide
