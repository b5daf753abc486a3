"""Which engine a collection gets: the one place that turns settings into backends."""

from __future__ import annotations

import os
from dataclasses import dataclass

from clip_core.wire import FloatArray
from index_service.backends.base import Backend
from index_service.backends.certified import CertifiedBackend
from index_service.backends.exact import ExactBackend
from index_service.backends.faiss import HnswBackend
from index_service.settings import Settings
from index_service.store import CollectionInfo

ENGINES = ("auto", "exact", "certified", "hnsw")


@dataclass(frozen=True)
class Engines:
    """Chooses by what the collection asked for and how many rows it has."""

    settings: Settings

    def choose(self, info: CollectionInfo, rows: int, queries: FloatArray | None = None) -> Backend:
        """`queries` (Q, D), when there are some, are what a recall target is measured on."""
        if info.engine == "exact" or rows == 0 or self._auto_is_exact(info, rows):
            return ExactBackend()
        if info.engine == "certified" or info.recall_target == 1.0:
            return CertifiedBackend()
        given = self.settings
        return HnswBackend(
            m=given.hnsw_m,
            ef_construction=given.hnsw_ef_construction,
            ef_search=given.hnsw_ef_search,
            threads=max(1, (given.threads or os.cpu_count() or 1) // 2),  # searches go on meanwhile
            recall_target=info.recall_target,
            queries=queries,
        )

    def _auto_is_exact(self, info: CollectionInfo, rows: int) -> bool:
        return info.engine == "auto" and rows <= self.settings.exact_max_rows

    def merge_due(self, main: int, delta: int, dead: int) -> bool:
        """Whether so many rows of the delta, or tombstones, are worth a rebuild of the main segment."""
        least = self.settings.compact_rows
        return delta >= max(least, main // 8) or dead >= max(least, (main + delta) // 4)
