"""Items that a filter lets through, in the order of their ids.

Where the filter leaves few rows, their ids are sorted. Where it leaves many, the record's index over the ids is walked:
a page of `most` items reads about `most` × rows ÷ matches of its narrow entries.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from index_service.engines.base import BoolArray, IntArray
from index_service.segments.view import View

_LEAST_STEP = 1024


class Match(NamedTuple):
    """An item as the row `row` of a view shows it."""

    id: str
    view: View
    row: int

    @property
    def metadata(self) -> bytes:
        """JSON text."""
        return self.view.rows.metadata[self.row]


class Listing:
    """`view_since` gives a view that knows a sequence number.

    `entries` gives the ids that follow one, by id, with their sequence numbers, up to so many.
    """

    def __init__(
        self, view_since: Callable[[int], View], entries: Callable[[str, int], Sequence[tuple[str, int]]]
    ) -> None:
        self._view_since, self._entries = view_since, entries

    def matches(self, where: bytes, after: str, most: int) -> Iterator[Match]:
        """The items behind the id `after` that the canonical filter lets through; about `most` will be taken."""
        view = self._view_since(0)
        allowed = view.alive & view.rows.masks.mask(where, view.count)
        count = int(np.count_nonzero(allowed))
        if count * count <= most * view.live:
            return _sorted(view, allowed, after.encode())
        return self._walked(where, after, max(_LEAST_STEP, view.live * most // count))

    def _walked(self, where: bytes, after: str, step: int) -> Iterator[Match]:
        while some := self._entries(after, step):
            seqs = np.array([seq for _, seq in some])
            view = self._view_since(int(seqs.max()))
            rows = _rows_of(view, seqs)
            if rows is None:
                continue  # a merge dropped a row that was replaced since it was read: read again
            matching = view.rows.masks.mask(where, view.count)[rows]
            for place in np.flatnonzero(matching).tolist():
                yield Match(some[place][0], view, int(rows[place]))
            after = some[-1][0]


def _sorted(view: View, allowed: BoolArray, after: bytes) -> Iterator[Match]:
    rows = np.flatnonzero(allowed)
    ids = zip(view.rows.ids.blobs.at(rows), rows.tolist(), strict=True)
    for id_, row in sorted(each for each in ids if each[0] > after):
        yield Match(id_.decode(), view, row)


def _rows_of(view: View, seqs: IntArray) -> IntArray | None:
    """The rows of these sequence numbers, in any order; None where one isn't there any more."""
    rows = np.minimum(np.searchsorted(view.seqs, seqs), view.count - 1)
    return rows if view.count and np.array_equal(view.seqs[rows], seqs) else None
