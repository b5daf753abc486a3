"""What a collection's metadata holds: for each field its distinct values, and how many items have each.

The counts are exact: they come from the columns that filters use. Which fields there are, when a caller names none,
comes from a sample: top-level fields whose values repeat in it, but for the digests of pictures.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate
from typing import Any, NamedTuple

import numpy as np
import orjson

from index_service.metadata.fields import DIGEST, FieldCounts
from index_service.metadata.filters import compile_filter
from index_service.segments.view import View

MOST_FIELDS = 16
FACET_SAMPLE = 1000
_FOUND_FIELDS = 8
_VALUE_BYTES = 32  # what JSON adds to a value


class FieldFacet(NamedTuple):
    """A field's most frequent values; ties by value."""

    field: str
    counts: FieldCounts
    values: list[tuple[Any, int]]

    def to_dict(self) -> dict[str, Any]:
        return {
            "field": self.field,
            "distinct": len(self.counts.values),
            "missing": self.counts.missing,
            "values": [{"value": value, "count": count} for value, count in self.values],
        }


def facets_of(
    view: View, fields: Sequence[str] | None, where: bytes | None, most: int, most_bytes: int
) -> list[FieldFacet]:
    """Of the items that the canonical filter lets through; `most` values of each field, fewer where these are long:
    all of them together are at most `most_bytes`.
    """
    names = list(dict.fromkeys(fields)) if fields is not None else _repeating(view)
    keys = set(names) if where is None else {*names, *compile_filter(where).keys()}
    columns = view.rows.masks.columns(keys, view.count, pauses=True)
    allowed = view.allowed(where)
    allowed, share = view.alive if allowed is None else allowed, most_bytes // max(len(names), 1)
    return [facet_of(name, columns[name].counts(allowed), most, share) for name in names]


def facet_of(field: str, counts: FieldCounts, most: int, most_bytes: int) -> FieldFacet:
    """The `most` most frequent values, fewer where they are long."""
    ordered = heapq.nsmallest(most, counts.values, key=lambda each: (-each[1], isinstance(each[0], str), str(each[0])))
    sizes = accumulate(len(orjson.dumps(value)) + _VALUE_BYTES for value, _ in ordered)
    return FieldFacet(field, counts, [each for each, size in zip(ordered, sizes, strict=True) if size <= most_bytes])


def _repeating(view: View) -> list[str]:
    """Of evenly spread items."""
    live = np.flatnonzero(view.alive)
    rows = live[:: max(1, len(live) // FACET_SAMPLE)][:FACET_SAMPLE].tolist()
    return repeating(view.rows.metadata[row] for row in rows)


def repeating(sample: Iterable[bytes]) -> list[str]:
    """Fields of a sample's documents that have one value at least twice, those that most items have first."""
    seen: dict[str, list[Any]] = {}
    for text in sample:
        document: Mapping[str, Any] = orjson.loads(text)
        for name, value in document.items():
            if isinstance(value, str | int | float):
                seen.setdefault(name, []).append((type(value) is bool, value))
    found = [name for name, values in seen.items() if name != DIGEST and len(set(values)) < len(values)]
    return sorted(found, key=lambda name: -len(seen[name]))[:_FOUND_FIELDS]
