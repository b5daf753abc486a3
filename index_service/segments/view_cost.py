"""How long a search of a view takes at most, estimated before it runs."""

from __future__ import annotations

import numpy as np

from clip_core.wire import Exactness
from index_service.engines.approximate.segment import SPARSE_SHARE
from index_service.segments.view import View

# In multiplications of about a tenth of a nanosecond each, as `Segment.cost`.
_COST_OF_FILTERED_ROW = 10_000
_COST_OF_LOOK = 50  # at one value of a row, for a condition of a filter
_COST_OF_HIT = 10_000


def search_cost(view: View, batch: int, k: int, where: bytes | None, exact: Exactness) -> int:
    """The cost of a search of `batch` queries, at most: any engine may scan the rows that a filter allows.

    No filter is evaluated for it: that takes long where fields have many values, and this may run on the event loop.
    """
    masks = view.rows.masks
    unparsed, looks = (0, 0) if where is None else (masks.missing(where, view.count), masks.looks(where, view.count))
    main = view.rows.main
    scan = batch * (main.vectors.size + view.delta.size)
    if where is None and not exact:
        indexes = 1 if view.sealed is None else 2
        scan = main.cost(batch) * indexes + batch * view.unsealed * view.delta.shape[1]
    elif where is not None and not looks:
        allowed = np.count_nonzero(masks.mask(where, view.count))
        scan = batch * allowed * view.delta.shape[1] if allowed <= SPARSE_SHARE * view.count else scan
    filtering = unparsed * _COST_OF_FILTERED_ROW + looks * _COST_OF_LOOK
    return scan + filtering + batch * min(k, view.live) * _COST_OF_HIT
