"""Which rows a filter lets through: the fields that filters ask about as columns, and the masks of the last filters.

A row's metadata never changes, so columns and masks only grow: rows that were looked at aren't looked at again.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Set

import numpy as np
import orjson

from index_service.engines.base import BoolArray, IntArray
from index_service.metadata.bounded_cache import BoundedCache
from index_service.metadata.columns import Blobs
from index_service.metadata.fields import Field
from index_service.metadata.filters import compile_filter

_KEPT_BYTES = 64 << 20  # of masks, one byte a row
_FIELDS = 16  # columns kept; a filter that asks about more is still answered
_LOOKS_AT_DISTINCT = 100  # times as long as at a row: each distinct value is asked by itself, in Python
_PARSE_ROWS, _PARSE_BYTES = 4096, 1 << 20  # documents parsed at a time, while nothing else runs


class FilterMasks:
    """Over `metadata` (JSON text of each row), which only ever grows. Safe to share between threads."""

    def __init__(self, metadata: Blobs, kept_bytes: int = _KEPT_BYTES) -> None:
        self._metadata, self._kept_bytes = metadata, kept_bytes
        self._masks: BoundedCache[bytes, BoolArray] = BoundedCache(kept_bytes)
        self._fields: OrderedDict[str, Field] = OrderedDict()
        self._parsing = threading.Lock()

    def mask(self, where: bytes, count: int) -> BoolArray:
        """(count,) for the canonical filter `where`."""
        known = self._masks.get(where)
        if known is not None and len(known) >= count:
            return known[:count]
        known = self._evaluated(where, count)
        self._masks.put(where, known, len(where) + known.nbytes)
        return known

    def missing(self, where: bytes, count: int) -> int:
        """How many of the first `count` rows' documents `mask` would have to parse, at most."""
        known = self._masks.get(where)
        if known is not None and len(known) >= count:
            return 0
        fields = map(self._fields.get, compile_filter(where).keys())  # others may drop them meanwhile
        return max(count - min((0 if field is None else len(field) for field in fields), default=0), 0)

    def looks(self, where: bytes, count: int) -> int:
        """How often `mask` would look at a value of the first `count` rows, at most; 0 where it knows the answer."""
        known = self._masks.get(where)
        if known is not None and len(known) >= count:
            return 0
        filter_ = compile_filter(where)
        distinct = sum(field.distinct for field in map(self._fields.get, filter_.keys()) if field is not None)
        return filter_.conditions() * (count + _LOOKS_AT_DISTINCT * distinct)

    def carried(self, metadata: Blobs, rows: IntArray) -> FilterMasks:
        """The columns for new metadata whose row i was row `rows[i]` (ascending) of this one."""
        after = FilterMasks(metadata, self._kept_bytes)
        with self._parsing:
            after._fields = OrderedDict((key, field.taken(rows)) for key, field in self._fields.items())
        return after

    def columns(self, keys: Iterable[str], count: int, *, pauses: bool = False) -> dict[str, Field]:
        """The columns of these fields, with at least the first `count` rows in them.

        With `pauses` half of the time is left to searches, which need the interpreter's lock.
        """
        fields = self._fields_of(frozenset(keys))
        while self._behind(fields, count):  # bit by bit, so that other filters needn't wait
            started = time.perf_counter()
            with self._parsing:
                self._parse(fields, count)
            if pauses:
                time.sleep(time.perf_counter() - started)
        return fields

    @property
    def keys(self) -> list[str]:
        """The fields that there are columns of."""
        with self._parsing:
            return list(self._fields)

    def expect(self, keys: Iterable[str]) -> None:
        """Begin the columns of these fields, which `advance` and the filters that ask for them fill."""
        self._fields_of(frozenset(keys))

    def advance(self, count: int) -> bool:
        """Read some more of the first `count` documents into the columns there are; whether any is still behind.

        It leaves their order alone: what nobody asks for must not drive out what somebody does.
        """
        with self._parsing:
            behind = {key: field for key, field in self._fields.items() if len(field) < count}
            if behind:
                self._parse(behind, count)
            return self._behind(behind, count)

    def _evaluated(self, where: bytes, count: int) -> BoolArray:
        filter_ = compile_filter(where)
        fields = self.columns(filter_.keys(), count)
        with self._parsing:
            return filter_.mask(lambda key, condition: fields[key].mask(condition, count))

    def _fields_of(self, keys: Set[str]) -> dict[str, Field]:
        """The columns of these fields, new ones empty; those used least recently make room for them."""
        with self._parsing:
            for key in keys:
                self._fields.setdefault(key, Field(key))
                self._fields.move_to_end(key)
            fields = {key: self._fields[key] for key in keys}
            while len(self._fields) > _FIELDS:
                self._fields.popitem(last=False)
        return fields

    @staticmethod
    def _behind(fields: Mapping[str, Field], count: int) -> bool:
        return any(len(field) < count for field in fields.values())

    def _parse(self, fields: Mapping[str, Field], count: int) -> None:
        """Add some more documents to those columns that are furthest behind."""
        start = min(map(len, fields.values()))
        most = np.arange(start, min(start + _PARSE_ROWS, count))
        within = int(np.searchsorted(np.cumsum(self._metadata.sizes(most)), _PARSE_BYTES))
        rows = self._metadata.rows(start, start + min(within + 1, len(most)))
        documents = orjson.loads(b"[%s]" % b",".join(rows))
        for field in fields.values():
            if len(field) == start:
                field.extend(documents)
