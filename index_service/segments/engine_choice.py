"""Which engine a collection gets: the one place that turns settings into backends.

`CollectionInfo.engine` is a name of `ENGINES`, followed by `:` and a FAISS factory string where one was given.
"""

from __future__ import annotations

import importlib.util
import logging
import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from clip_core.cores import available_cores
from clip_core.errors import InvalidRequest
from clip_core.wire import FloatArray
from index_service.engines.approximate.milvus import MilvusBackend
from index_service.engines.approximate.scann import LEAST_ROWS, ScannBackend
from index_service.engines.base import Backend
from index_service.engines.exact.certified import CertifiedBackend
from index_service.engines.exact.segment import ExactBackend
from index_service.engines.faiss.backend import FaissBackend, least_rows, refusal
from index_service.engines.faiss.factories import MOST_LISTS, ROWS_A_LIST
from index_service.record.store import CollectionInfo
from index_service.segments.segment_files import segments_folder
from index_service.settings import IndexSettings

_log = logging.getLogger("index_service.segments.engine_choice")
ENGINES = ("auto", "exact", "certified", "faiss", "hnsw", "scann", "milvus")
_MODULES = {"scann": "scann", "milvus": "pymilvus"}
_MAX_FACTORY = 200
_AUTO_RECALL = 0.95  # what `auto` aims at when nobody asked for more
_SELECTED_RECALL = 0.99  # of rows that a filter leaves: without an index of their own they are scored exactly
_CODED_ROWS = 4096  # so many are scanned faster by their codes
_QUIET_SHARE = 128  # of the main segment
_MIN_LISTS, _CHEAP_LISTS = 64, 4096


def parse_engine(engine: object, factory: object, dim: int) -> str:
    """The two fields of a request → `CollectionInfo.engine`. Raises InvalidRequest."""
    if not isinstance(engine, str) or engine not in ENGINES:
        raise InvalidRequest(f"`engine` is one of {', '.join(ENGINES)}", param="engine")
    module = _MODULES.get(engine)
    if module is not None and importlib.util.find_spec(module) is None:
        advice = f"pip install 'clipserve[{engine}]' beside the index service, or choose another"
        raise InvalidRequest(f"the engine {engine} is not installed here: {advice}", param="engine")
    if factory is None:
        return engine
    if engine != "faiss":
        raise InvalidRequest('`factory` goes with `"engine": "faiss"`', param="factory")
    if not isinstance(factory, str) or not 1 <= len(factory) <= _MAX_FACTORY:
        raise InvalidRequest(f"`factory` is a string of 1 to {_MAX_FACTORY} characters", param="factory")
    refused = refusal(factory, dim)
    if refused is not None:
        raise InvalidRequest(f"no index {factory!r} of {dim} dimensions can be made: {refused}", param="factory")
    return f"faiss:{factory}"


@lru_cache(1024)
def _needed(factory: str, dim: int) -> float:
    """Rows from which a collection gets this index: never one that is no longer taken, as an older record may name."""
    try:
        return least_rows(factory, dim)
    except ValueError as error:
        _log.warning("factory not taken, searched exactly", extra={"factory": factory, "dim": dim, "why": str(error)})
        return math.inf


def describe_engine(engine: str) -> dict[str, Any]:
    """`CollectionInfo.engine` as the API shows it: `engine`, and `factory` where one was given."""
    name, _, factory = engine.partition(":")
    return {"engine": name, "factory": factory} if factory else {"engine": name}


def auto_factory(rows: int, dim: int) -> str:
    """Inverted lists and 4-bit product codes of two dimensions each, of what a row differs by from its centroid: the
    best recall for its speed that was measured on CLIP-like vectors with text queries (docs/engines.md), at an eighth
    of the vectors' memory.
    """
    lists = auto_lists(rows)
    return f"IVF{lists},PQ{dim // 2}x4fsr" if dim % 2 == 0 else f"IVF{lists},SQ8"


def auto_lists(rows: int) -> int:
    """A power of two near 3.2 √rows, the best for clouds of several shapes (docs/decisions/034-more-lists.md).

    From 4,096 on training takes longer than what it saves, until 1.4 √rows is more.
    """
    root = math.sqrt(rows)
    wanted = 1 << round(math.log2(max(min(3.2 * root, _CHEAP_LISTS), 1.4 * root, 1)))
    trained = 1 << max(rows // ROWS_A_LIST, 1).bit_length() - 1
    return max(min(wanted, trained, MOST_LISTS), _MIN_LISTS)


@dataclass(frozen=True)
class Engines:
    """Chooses by what the collection asked for and how many rows it has."""

    settings: IndexSettings

    def choose(self, info: CollectionInfo, rows: int, queries: FloatArray | None = None) -> Backend:
        """`queries` (Q, D), when there are some, are what a recall target is measured on."""
        name, _, factory = info.engine.partition(":")
        small = name == "auto" and rows <= self.settings.exact_max_rows
        if name == "exact" or rows == 0 or (small and rows < _CODED_ROWS):
            return ExactBackend(info.metric)
        if name == "certified" or small or info.recall_target == 1.0:
            return CertifiedBackend(info.metric)
        if name == "scann":
            return self._scann(info, rows, queries)
        if name == "milvus":
            return self._milvus(info, queries)
        return self._faiss(info, name, factory, rows, queries)

    def selection(self, info: CollectionInfo, queries: FloatArray | None) -> Backend:
        """For the few thousand rows that a filter leaves: no lists, only codes of two dimensions each."""
        if info.dim % 2 or info.recall_target == 1.0:
            return ExactBackend(info.metric)
        target = max(info.recall_target or 0.0, _SELECTED_RECALL)
        return FaissBackend(
            f"PQ{info.dim // 2}x4fs", threads=1, recall_target=target, queries=queries, metric=info.metric
        )

    def _faiss(
        self, info: CollectionInfo, name: str, factory: str, rows: int, queries: FloatArray | None
    ) -> FaissBackend | ExactBackend:
        given = self.settings
        factory = f"HNSW{given.hnsw_m}" if name == "hnsw" else factory or auto_factory(rows, info.dim)
        if rows < _needed(factory, info.dim):
            return ExactBackend(info.metric)
        return FaissBackend(
            factory,
            engine="hnsw" if name == "hnsw" else "faiss",
            effort=given.hnsw_ef_search if name == "hnsw" else None,
            ef_construction=given.hnsw_ef_construction,
            threads=self.build_threads,
            recall_target=info.recall_target if name == "hnsw" else info.recall_target or _AUTO_RECALL,
            queries=queries,
            metric=info.metric,
        )

    def _scann(self, info: CollectionInfo, rows: int, queries: FloatArray | None) -> ScannBackend | ExactBackend:
        if rows < LEAST_ROWS:
            return ExactBackend(info.metric)
        return ScannBackend(self.build_threads, info.recall_target or _AUTO_RECALL, queries, info.metric)

    def _milvus(self, info: CollectionInfo, queries: FloatArray | None) -> MilvusBackend:
        given, prefix = self.settings, f"{self.settings.milvus_prefix}_{info.name.replace('-', '_')}_{info.key}"
        return MilvusBackend(
            given.milvus_uri or str(given.data_dir / "milvus.db"),
            prefix,
            segments_folder(given.data_dir, info.key),
            given.milvus_token.get_secret_value(),
            given.hnsw_ef_search,
            info.recall_target,
            queries,
            info.metric,
        )

    @property
    def build_threads(self) -> int:
        """Half of what searches have, since they go on meanwhile."""
        return max(1, (self.settings.threads or available_cores()) // 2)

    def idle_merge_due(self, main: int, delta: int) -> bool:
        """Whether so many rows of the delta, or tombstones, are worth a rebuild while nothing is written."""
        return delta >= max(self.settings.merge_min_rows // 4, main // _QUIET_SHARE)

    def merge_due(self, main: int, delta: int, dead: int, scanned: bool = False) -> bool:
        """Whether so many rows of the delta, or tombstones, are worth a rebuild of the main segment.

        Where main rows are `scanned` too, rows of the delta cost a search no more than they do.
        """
        least = self.settings.merge_min_rows
        return delta >= max(least, main // (2 if scanned else 8)) or dead >= max(least, (main + delta) // 4)
