"""Searches in Milvus repeated exactly, to know the recall of live ones: every item is read and scored here."""

from __future__ import annotations

import numpy as np

from clip_core.wire import FloatArray
from index_service.engines.base import Found
from index_service.milvus.reading import MilvusReader, Moment
from index_service.milvus.searching import BestItems, candidates, passing

_MOST = 100_000  # items read for one search
_ROUNDING = 1e-5  # of Milvus' sums in float32


class RepeatedSearches:
    """The `Searched` of one collection. Items that are written meanwhile count as missed."""

    engine = "milvus"

    def __init__(self, reader: MilvusReader, moment: Moment, most: int = _MOST) -> None:
        self._reader, self._moment, self._most = reader, moment, most

    def search(self, queries: FloatArray, k: int, where: bytes | None, exact: bool) -> Found:
        """The best scores, less what may be rounding; none where more items would have to be read than `most`."""
        best = BestItems(queries, k)
        if exact and self._reader.count(candidates(where), self._moment) <= self._most:
            for page in passing(self._reader, where, ["id", "vector"], self._moment):
                best.add(page.ids, page.vectors, page.documents)
        scores = np.array([[hit.score for hit in hits] for hits in best.hits(False)], np.float32)
        lowered: FloatArray = (scores - _ROUNDING * np.maximum(1, np.abs(scores))).astype(np.float32)
        return lowered, np.zeros_like(scores, np.int64)
