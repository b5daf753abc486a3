"""What a whole collection in Milvus is read for, page by page: facets, and items of the same picture."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import orjson

from index_service.answers.duplicates import DuplicateGroup, digest_of
from index_service.answers.facets import FieldFacet, facet_of, repeating
from index_service.metadata.fields import Field, FieldCounts


class FacetCounts:
    """The counts of some fields over documents that are added page by page."""

    def __init__(self, names: Sequence[str]) -> None:
        self._counts: dict[str, dict[tuple[bool, Any], int]] = {name: {} for name in names}
        self._missing = dict.fromkeys(names, 0)

    def add(self, documents: Sequence[Mapping[str, Any]]) -> None:
        """Count a page."""
        everything = np.ones(len(documents), np.bool_)
        for name, counts in self._counts.items():
            column = Field(name)
            column.extend(documents)
            page = column.counts(everything)
            self._missing[name] += page.missing
            for value, count in page.values:
                key = (type(value) is bool, value)
                counts[key] = counts.get(key, 0) + count

    def facets(self, most: int, most_bytes: int) -> list[FieldFacet]:
        """The `most` most frequent values of each field, see `facets_of`."""
        share = most_bytes // max(len(self._counts), 1)
        return [
            facet_of(
                name, FieldCounts([(value, n) for (_, value), n in counts.items()], self._missing[name]), most, share
            )
            for name, counts in self._counts.items()
        ]


def count_facets(
    pages: Iterable[Sequence[bytes]], sample: Sequence[bytes], fields: Sequence[str] | None, most: int, most_bytes: int
) -> list[FieldFacet]:
    """Of the documents in `pages`. Where no `fields` are named, those whose values repeat in the `sample`."""
    names = list(dict.fromkeys(fields)) if fields is not None else repeating(sample)
    counts = FacetCounts(names)
    if names:
        for page in pages:
            counts.add([orjson.loads(text) for text in page])
    return counts.facets(most, most_bytes)


def group_duplicates(
    pages: Iterable[tuple[Sequence[str], Sequence[bytes]]], after: str, most: int, most_ids: int
) -> list[DuplicateGroup]:
    """The first `most` groups of items with the same digest behind `after`; `pages` are (ids, documents)."""
    found: dict[str, list[str]] = {}
    for ids, documents in pages:
        for id_, text in zip(ids, documents, strict=True):
            digest = digest_of(text)
            if digest is not None and digest > after:
                found.setdefault(digest, []).append(id_)
    names = sorted(name for name, ids in found.items() if len(ids) > 1)
    return [DuplicateGroup(name, len(found[name]), sorted(found[name])[:most_ids]) for name in names[:most]]
