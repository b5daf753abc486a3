"""Which rows a filter lets through: evaluated once a row, since a row's metadata never changes."""

from __future__ import annotations

import threading
from collections import OrderedDict

import numpy as np
import orjson

from index_service.backends.base import BoolArray, IntArray
from index_service.columns import Blobs
from index_service.filters import compile_filter


class FilterMasks:
    """The masks of the filters used last, over `metadata` (JSON text of each row), which only ever grows."""

    def __init__(self, metadata: Blobs, capacity: int = 32) -> None:
        self._metadata = metadata
        self._capacity = capacity
        self._masks: OrderedDict[bytes, BoolArray] = OrderedDict()
        self._lock = threading.Lock()

    def mask(self, where: bytes, count: int) -> BoolArray:
        """(count,) for the canonical filter `where`. Rows that an earlier call evaluated aren't looked at again."""
        with self._lock:
            known = self._masks.get(where)
        if known is None or len(known) < count:
            known = self._extended(where, known, count)
            self._keep(where, known)
        return known[:count]

    def missing(self, where: bytes, count: int) -> int:
        """How many of the first `count` rows `mask` would have to evaluate."""
        known = self._masks.get(where)
        return count if known is None else max(count - len(known), 0)

    def carried(self, metadata: Blobs, rows: IntArray) -> FilterMasks:
        """The masks for a new list whose row i was row `rows[i]` (ascending) of this one."""
        with self._lock:
            masks = list(self._masks.items())
        after = FilterMasks(metadata, self._capacity)
        for where, mask in masks:
            after._masks[where] = mask[rows[: np.searchsorted(rows, len(mask))]]
        return after

    def _extended(self, where: bytes, known: BoolArray | None, count: int) -> BoolArray:
        start = 0 if known is None else len(known)
        holds, metadata = compile_filter(where), self._metadata
        fresh = np.fromiter((holds(orjson.loads(metadata[i])) for i in range(start, count)), np.bool_, count - start)
        return fresh if known is None else np.concatenate((known, fresh))

    def _keep(self, where: bytes, mask: BoolArray) -> None:
        with self._lock:
            if len(self._masks.get(where, ())) <= len(mask):
                self._masks[where] = mask
            self._masks.move_to_end(where)
            while len(self._masks) > self._capacity:
                self._masks.popitem(last=False)
