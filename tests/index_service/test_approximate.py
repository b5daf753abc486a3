"""What approximate engines share, over one whose lists hold three rows each."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from clip_core.wire import FloatArray
from index_service.engines.approximate.candidate_search import SearchParameters
from index_service.engines.approximate.segment import ApproximateSegment
from index_service.engines.approximate.unprobed_lists import AllRowsProbed
from index_service.engines.base import BoolArray, IntArray
from index_service.engines.exact.scan import search_exact

ROWS = np.random.default_rng(0).standard_normal((8000, 16), np.float32)
ROWS /= np.linalg.norm(ROWS, axis=1, keepdims=True)
LIST = 3


class Lists:
    """Rows in the order of their scores, three a list; rows of all but the first `lists` are never found."""

    effort_name, takes_mask, efforts, unprobed = "nprobe", False, (1, 2, 4, 8, 16), None

    def __init__(self, lists: int) -> None:
        self.lists = lists
        self.asked: list[int] = []

    def search(self, queries: FloatArray, count: int, effort: int, mask: BoolArray | None) -> IntArray:
        assert mask is None
        self.asked.append(effort)
        found = np.argsort(-(queries @ ROWS.T), axis=1)[:, : LIST * min(effort, self.lists)]
        return np.pad(found, ((0, 0), (0, count)), constant_values=-1)[:, :count]


@pytest.mark.parametrize(
    ("lists", "k", "asked"),
    [(16, 10, [1, 2, 4]), (2, 10, [1, 2, 4, 8, 16]), (16, 11, [1])],
    ids=["more lists hold enough", "no lists hold enough: a scan", "k above what recall was measured with: a scan"],
)
def test_a_query_whose_lists_hold_too_few_rows_gets_more_lists(lists: int, k: int, asked: Sequence[int]) -> None:
    candidate_search = Lists(lists)
    segment = ApproximateSegment("lists", ROWS, candidate_search, SearchParameters(1), {})
    scores, rows = segment.search(ROWS[:1], k, None)
    expected = search_exact(ROWS, ROWS[:1], k, None)
    assert candidate_search.asked == asked
    assert rows.tolist() == expected[1].tolist()
    assert scores.tolist() == expected[0].tolist()


def test_only_the_queries_that_found_too_few_are_asked_again() -> None:
    segment = ApproximateSegment("lists", ROWS, Lists(16), SearchParameters(4), {})
    assert np.count_nonzero(segment.search(ROWS[:3], 10, None)[1] >= 0) == 30
    assert isinstance(segment.candidate_search, Lists)
    assert segment.candidate_search.asked == [4]


class Filtering:
    """The best rows that the mask allows; notes whether there was one for each query."""

    effort_name, takes_mask, efforts, unprobed = "nprobe", True, (1,), AllRowsProbed()

    def __init__(self) -> None:
        self.masked: list[list[bool]] = []

    def search(self, queries: FloatArray, count: int, effort: int, mask: BoolArray | None) -> IntArray:
        del effort
        self.masked.append([mask is not None] * len(queries))
        scores = queries @ ROWS.T
        return np.argsort(-scores if mask is None else np.where(mask, -scores, np.inf), axis=1)[:, :count]


def test_a_mask_for_most_rows_is_shown_only_for_the_queries_that_it_leaves_too_few() -> None:
    queries = np.stack([ROWS[0], -ROWS[0]])
    mask = ROWS @ ROWS[0] < 0.2  # most rows, none of them near the first query
    candidate_search = Filtering()
    segment = ApproximateSegment("filtering", ROWS, candidate_search, SearchParameters(1), {})
    found, expected = segment.search(queries, 10, mask), search_exact(ROWS, queries, 10, mask)
    assert candidate_search.masked == [[False, False], [True]]
    assert np.array_equal(found[1], expected[1])
    assert np.array_equal(found[0], expected[0])
