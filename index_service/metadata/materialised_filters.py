"""What a filter leaves of a main segment, as a small segment of its own, for the filters that come again.

A filter that leaves few rows is answered by scoring just those, wherever they lie; rows that lie together and are coded
take a fifth of that. They are copied and coded in the background, once a filter has been asked often enough.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Callable
from typing import NamedTuple

import faiss
import numpy as np

from clip_core.heap import give_back
from clip_core.wire import FloatArray
from index_service.engines.approximate.segment import FEW_ROWS, SPARSE_SHARE
from index_service.engines.base import NO_ROW, BoolArray, Found, IntArray, Segment

_log = logging.getLogger("index_service.metadata.materialised_filters")
_ASKED = 8  # times, before a filter is taken to come again
_LONGEST = 4096  # bytes of a filter that is counted
_COUNTED = 1024  # filters, after which counting begins anew
_SHARE = 16  # of the main segment's rows: so many are copied at most
_IDLE = 4  # times as long as making one took, before the next: at most a fifth of one core


class MaterialisedFilter(NamedTuple):
    """`rows` (R,) of the main segment, ascending, and the segment of their vectors in that order."""

    rows: IntArray
    segment: Segment

    def search(self, queries: FloatArray, k: int, alive: BoolArray | None) -> Found:
        """The best `k` for each of `queries` (B, D); `alive` (N,) are the main segment's rows, None: all are."""
        own = None if alive is None else alive[self.rows]
        scores, places = self.segment.search(queries, k, None if own is None or own.all() else own)
        return scores, np.where(places >= 0, self.rows[places], NO_ROW)


class MaterialisedFilters:
    """Of one main segment, by canonical filter; `build` makes a segment of vectors (R, D). Safe to share."""

    def __init__(self, build: Callable[[FloatArray], Segment]) -> None:
        self._build = build
        self._kept: OrderedDict[bytes, MaterialisedFilter] = OrderedDict()
        self._asked: Counter[bytes] = Counter()
        self._lock, self._next = threading.Lock(), 0.0
        self.making: threading.Thread | None = None

    def of(self, where: bytes, vectors: FloatArray, mask: BoolArray) -> MaterialisedFilter | None:
        """What `mask` (N,), the filter's, leaves of `vectors` (N, D), where it has been made; perhaps it is begun."""
        with self._lock:
            kept = self._kept.get(where)
            if kept is not None:
                self._kept.move_to_end(where)
            elif len(where) <= _LONGEST and self._due(where):
                self._begin(where, vectors, mask)
            return kept

    def _due(self, where: bytes) -> bool:
        """Counts, too."""
        if len(self._asked) >= _COUNTED:
            self._asked.clear()
        self._asked[where] += 1
        return self._asked[where] >= _ASKED and self.making is None and time.monotonic() >= self._next

    def _begin(self, where: bytes, vectors: FloatArray, mask: BoolArray) -> None:
        if FEW_ROWS < np.count_nonzero(mask) <= min(SPARSE_SHARE, 1 / _SHARE) * len(vectors):
            self.making = threading.Thread(target=self._make, args=(where, vectors, mask), daemon=True)
            self.making.start()
        else:
            self._asked[where] -= _COUNTED  # not to be looked at again soon

    def _make(self, where: bytes, vectors: FloatArray, mask: BoolArray) -> None:
        faiss.omp_set_num_threads(1)  # of this thread: searches go on meanwhile
        started = time.monotonic()
        try:
            rows = np.flatnonzero(mask)
            made = MaterialisedFilter(rows, self._build(vectors[rows]))
        except Exception:  # without it the search takes longer, and no more
            _log.exception("materialised filter not made")
        else:
            self._keep(where, made, len(vectors) // _SHARE)
        give_back()
        with self._lock:
            self._next = time.monotonic() + _IDLE * (time.monotonic() - started)
            self.making = None

    def _keep(self, where: bytes, made: MaterialisedFilter, most: int) -> None:
        with self._lock:
            self._kept[where] = made
            while sum(len(each.rows) for each in self._kept.values()) > most:
                self._kept.popitem(last=False)
