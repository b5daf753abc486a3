"""What a collection's metadata holds: for each field its distinct values, and how many items have each.

The counts are exact: they come from the columns that filters use. Which fields there are, when a caller names none,
comes from a sample: top-level fields whose values repeat in it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import orjson

from index_service.backends.base import BoolArray
from index_service.fields import Field, FieldCounts
from index_service.segments import View

MOST_FIELDS = 16
_SAMPLE = 1000
_FOUND_FIELDS = 8


class Facet(NamedTuple):
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


def facets_of(view: View, fields: Sequence[str] | None, where: bytes | None, most: int) -> list[Facet]:
    """Of the items that the canonical filter lets through; `most` values of each field."""
    names = list(dict.fromkeys(fields)) if fields is not None else _repeating(view)
    allowed = view.allowed(where)
    columns = view.rows.masks.columns(names, view.count)
    return [_facet(columns[name], allowed if allowed is not None else view.alive, most) for name in names]


def _facet(column: Field, allowed: BoolArray, most: int) -> Facet:
    counts = column.counts(allowed)
    ordered = sorted(counts.values, key=lambda each: (-each[1], isinstance(each[0], str), str(each[0])))
    return Facet(column.key, counts, ordered[:most])


def _repeating(view: View) -> list[str]:
    """Fields of evenly spread items that have one value at least twice, those that most items have first."""
    live = np.flatnonzero(view.alive)
    rows = live[:: max(1, len(live) // _SAMPLE)][:_SAMPLE].tolist()
    seen: dict[str, list[Any]] = {}
    for row in rows:
        document: Mapping[str, Any] = orjson.loads(view.rows.metadata[row])
        for name, value in document.items():
            if isinstance(value, str | int | float):
                seen.setdefault(name, []).append((type(value) is bool, value))
    found = [name for name, values in seen.items() if len(set(values)) < len(values)]
    return sorted(found, key=lambda name: -len(seen[name]))[:_FOUND_FIELDS]
