"""Sealing: the first rows of a delta get an index that uses the training of the main segment.

A search then scans only the rows after them. An index is never changed: each step copies it and adds rows to the copy.
"""

from __future__ import annotations

from dataclasses import replace

from index_service.engines.approximate.segment import ApproximateSegment
from index_service.segments.view import View

_UNSEALED_ROWS = 2048  # of the delta are scanned as fast as an index is searched
_STEP_ROWS, _STEP_SHARE = 256, 64  # a step seals at least so many rows, and this part of the index that it copies
_CATCH_UP_SHARE = 4  # and this part of the unsealed rows: after a flood of rows smaller steps would copy too often
_MAX_NORM_GROWTH = 2  # times the main segment's largest norm: its training codes no longer rows


def seal_due(view: View) -> bool:
    """Whether the delta has rows to seal. The main segment's engine may still be unable to."""
    return view.unsealed >= _UNSEALED_ROWS and isinstance(view.rows.main, ApproximateSegment)


def sealed_further(view: View) -> View | None:
    """The view with some more rows of its delta sealed.

    None where too few rows are left, where a row is too long, or where the engine can't add rows quickly.
    """
    main = view.rows.main
    if view.unsealed < _STEP_ROWS or not isinstance(main, ApproximateSegment):
        return None
    if main.max_norm is not None and view.max_norm is not None and view.max_norm > _MAX_NORM_GROWTH * main.max_norm:
        return None
    sealed = view.sealed or main.empty_copy()
    if sealed is None:
        return None
    done = len(sealed.vectors)
    more = max(_STEP_ROWS, done // _STEP_SHARE, view.unsealed // _CATCH_UP_SHARE)
    return replace(view, sealed=sealed.extended(view.delta[: done + more]))
