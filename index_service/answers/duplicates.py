"""Items of a collection that were made from the same picture: those with the same text in the metadata's `digest`.

The gateway writes that field: SHA-256 of the picture's bytes. Kept of it are 8 bytes a row, once somebody has asked.
"""

from __future__ import annotations

import time
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from index_service.engines.base import IntArray
from index_service.metadata.columns import Growing
from index_service.metadata.fields import DIGEST
from index_service.record.records import MAX_ID
from index_service.segments.view import Rows, View

_PARSE_ROWS = 1024  # documents parsed before others have a turn


@dataclass(frozen=True)
class DuplicateGroup:
    """`count` items have the digest; `ids` are the first of them."""

    digest: str
    count: int
    ids: list[str]

    def to_dict(self) -> dict[str, Any]:
        return {**vars(self)}


class Duplicates:
    """Of one collection. One call at a time."""

    def __init__(self) -> None:
        self._rows: Callable[[], Rows | None] = lambda: None  # which the hashes are of; not kept, for their files' sake
        self._hashes = Growing((), np.int64)
        self._known: NDArray[np.int64] = self._hashes.put(0, np.empty(0, np.int64))

    def groups(self, view: View, after: str, most: int, most_ids: int) -> list[DuplicateGroup]:
        """The first `most` groups whose digests follow `after`, by digest, each with `most_ids` ids at most."""
        self._catch_up(view)
        found: dict[str, list[int]] = {}
        for row in _repeated(self._known[: view.count], view).tolist():
            found.setdefault(digest_of(view.rows.metadata[row]) or "", []).append(row)
        names = sorted(name for name, rows in found.items() if len(rows) > 1 and name > after)
        return [_group(view, name, found[name], most_ids) for name in names[:most]]

    def _catch_up(self, view: View) -> None:
        """Read the documents that are new, half of the time; after a merge all of them."""
        if self._rows() is not view.rows:
            self._rows, self._known = weakref.ref(view.rows), self._hashes.put(0, np.empty(0, np.int64))
        while len(self._known) < view.count:
            started, start = time.perf_counter(), len(self._known)
            some = view.rows.metadata.rows(start, min(start + _PARSE_ROWS, view.count))
            self._known = self._hashes.put(start, np.fromiter(map(_hash, some), np.int64, len(some)))
            time.sleep(time.perf_counter() - started)


def _hash(document: bytes) -> int:
    """0 for none."""
    digest = digest_of(document)
    return 0 if digest is None else hash(digest) or 1


def digest_of(document: bytes) -> str | None:
    """The picture's digest in an item's metadata."""
    value = orjson.loads(document).get(DIGEST) if b'"digest"' in document else None
    return value if isinstance(value, str) and 1 <= len(value) <= MAX_ID else None  # the longest `after`


def _repeated(hashes: NDArray[np.int64], view: View) -> IntArray:
    """The live rows whose hash another live row has, too."""
    rows = np.flatnonzero(view.alive & (hashes != 0))
    _, group, often = np.unique(hashes[rows], return_inverse=True, return_counts=True)
    return rows[often[group] > 1]


def _group(view: View, digest: str, rows: list[int], most: int) -> DuplicateGroup:
    return DuplicateGroup(digest, len(rows), sorted(view.rows.ids[row] for row in rows)[:most])
