"""Searches of a collection whose rows are in this process: what they cost, what they find, how large that is."""

from __future__ import annotations

from collections.abc import Sequence

from clip_core.wire import Exactness
from index_service.answers.hits import FoundHits, SearchBatch
from index_service.engines.approximate.segment import ApproximateSegment
from index_service.engines.base import ExactnessCertificate, Found
from index_service.record.records import CollectionInfo
from index_service.segments.view import View
from index_service.segments.view_cost import search_cost

_COST_OF_CALLING = 10**9  # another process, for which the event loop never waits


def cost_in_view(view: View, batch: SearchBatch, where: bytes | None, exact: Exactness) -> int:
    """In the unit of `Segment.cost`."""
    main = view.rows.main
    far = _COST_OF_CALLING if isinstance(main, ApproximateSegment) and main.remote else 0
    return search_cost(view, len(batch.searches), batch.most_k, where, exact) + far


def search_in_view(
    info: CollectionInfo, view: View, batch: SearchBatch, where: bytes | None, exact: Exactness
) -> FoundHits:
    """What the searches find in `view`."""
    (scores, rows), certificates = _found(view, batch, where, exact)
    wanted = [row[: search.k][row[: search.k] >= 0] for row, search in zip(rows, batch.searches, strict=True)]
    return FoundHits(info, view, batch.searches, wanted, scores, certificates)


def _found(
    view: View, batch: SearchBatch, where: bytes | None, exact: Exactness
) -> tuple[Found, Sequence[ExactnessCertificate | None]]:
    if exact == "certified":
        return view.certify(batch.queries, batch.most_k, where)
    return view.search(batch.queries, batch.most_k, where, exact), [None] * len(batch.queries)
