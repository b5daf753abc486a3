"""Searches of one call that run together, and what they cost."""

from __future__ import annotations

from typing import NamedTuple

from clip_core.wire import Exactness, FloatArray
from index_service.collection.collection import Collection
from index_service.engines.approximate.segment import ApproximateSegment
from index_service.search.hits import Search
from index_service.segments.view_cost import search_cost

_COST_OF_BYTE = 10  # of an answer, in the unit of `Segment.cost`
_COST_OF_CALLING = 10**9  # another process, for which the event loop never waits


class SearchGroup(NamedTuple):
    """What searches must have in common to run as one search of the engine. `where` is a canonical filter."""

    collection: Collection
    where: bytes | None
    exact: Exactness


class SearchBatch(NamedTuple):
    """The searches of one group with their `queries` (B, D) float32, normalised as their collection's vectors are."""

    searches: list[Search]
    queries: FloatArray

    def at(self, chosen: list[int]) -> SearchBatch:
        """The searches at these positions."""
        return SearchBatch([self.searches[each] for each in chosen], self.queries[chosen])


def cost_of(group: SearchGroup, batch: SearchBatch, answer_bytes: int) -> int:
    """The cost of the searches and of writing their answers of so many bytes, in the unit of `Segment.cost`."""
    view = group.collection.view
    main = view.rows.main
    far = _COST_OF_CALLING if isinstance(main, ApproximateSegment) and main.remote else 0
    searching = search_cost(view, len(batch.searches), most_k(batch), group.where, group.exact)
    return searching + answer_bytes * _COST_OF_BYTE + far


def most_k(batch: SearchBatch) -> int:
    """The largest `k` of the batch."""
    return max(search.k for search in batch.searches)
