"""Searches of one call that run together, and what they cost."""

from __future__ import annotations

from typing import NamedTuple

from clip_core.wire import Consistency, Exactness
from index_service.answers.hits import SearchBatch
from index_service.collection.stored import StoredCollection

_COST_OF_BYTE = 10  # of an answer, in the unit of `Segment.cost`


class SearchGroup(NamedTuple):
    """What searches must have in common to run as one. `where` is a canonical filter."""

    collection: StoredCollection
    where: bytes | None
    exact: Exactness
    consistency: Consistency | None = None


def cost_of(group: SearchGroup, batch: SearchBatch, answer_bytes: int) -> int:
    """The cost of the searches and of writing their answers of so many bytes, in the unit of `Segment.cost`."""
    return group.collection.search_cost(batch, group.where, group.exact) + answer_bytes * _COST_OF_BYTE
