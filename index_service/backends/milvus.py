"""Milvus: a cluster reached by its address, or milvus-lite in a file. An optional extra, imported when built.

A segment is a Milvus collection of its own, whose primary keys are row numbers; it is dropped with the segment, or by
the next build when the process died. SQLite stays the record, and a cluster that fails is answered for by a scan.
"""

from __future__ import annotations

import importlib
import logging
import uuid
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from clip_core.wire import FloatArray
from index_service.backends.approximate import ApproximateSegment, Setting, calibrated, ladder
from index_service.backends.base import BoolArray, BuildCancelled, IntArray
from index_service.backends.exact import ExactSegment

_log = logging.getLogger("index_service.milvus")
_INSERT_ROWS = 2000
_MAX_EF = 2048
_live: set[str] = set()


class MilvusSeeker:
    """One collection of N rows under an HNSW index; the knob is ef. Filters are left to the caller."""

    knob = "ef"
    filters = False

    def __init__(self, client: Any, name: str, rows: int) -> None:
        self.efforts: Sequence[int] = ladder(16, _MAX_EF)
        self._client, self._name, self._rows = client, name, rows
        self.drop = weakref.finalize(self, _drop, client, name)
        self.drop.atexit = False  # the driver is gone by then

    def seek(self, queries: FloatArray, count: int, effort: int, mask: BoolArray | None) -> IntArray:
        """See `Seeker.seek`; nothing is found while the cluster can't be reached, so that a scan answers."""
        del mask
        most = min(count, self._rows)
        parameters = {"metric_type": "IP", "params": {"ef": max(effort, most)}}
        rows = np.full((len(queries), most), -1, np.int64)
        try:
            answers = self._client.search(self._name, queries.tolist(), limit=most, search_params=parameters)
        except Exception as error:  # whatever the driver raises, the answer is the same
            _log.warning("milvus search failed, scanned instead", extra={"error": str(error)})
            return rows
        for own, hits in zip(rows, answers, strict=True):
            own[: len(hits)] = [hit["id"] for hit in hits]
        return rows


@dataclass(frozen=True)
class MilvusBackend:
    """`uri` is an address, or the path of a milvus-lite file; `prefix` names the collections made for this one."""

    uri: str
    prefix: str
    token: str = ""
    effort: int = 128
    recall_target: float | None = None
    queries: FloatArray | None = field(default=None, compare=False)

    engine = "milvus"

    def build(
        self, vectors: FloatArray, cancelled: Callable[[], bool] = lambda: False
    ) -> ApproximateSegment | ExactSegment:
        """See `Backend.build`."""
        if not len(vectors):
            return ExactSegment(vectors)
        client = importlib.import_module("pymilvus").MilvusClient(uri=self.uri, token=self.token)
        self._drop_stale(client)
        name = f"{self.prefix}_{uuid.uuid4().hex}"
        _live.add(name)
        try:
            _fill(client, name, vectors, cancelled)
        except BaseException:
            _drop(client, name)
            raise
        seeker = MilvusSeeker(client, name, len(vectors))
        segment = ApproximateSegment(self.engine, vectors, seeker, Setting(self.effort), {"collection": name})
        return calibrated(segment, self.queries, self.recall_target)

    def _drop_stale(self, client: Any) -> None:
        """What an earlier process left behind."""
        for name in client.list_collections():
            if name.startswith(f"{self.prefix}_") and name not in _live:
                client.drop_collection(name)


def _fill(client: Any, name: str, vectors: FloatArray, cancelled: Callable[[], bool]) -> None:
    """Insert all rows, flush them (unflushed ones are searched slowly) and load the index."""
    index = client.prepare_index_params()
    index.add_index("vector", index_type="HNSW", metric_type="IP", params={"M": 32, "efConstruction": 200})
    client.create_collection(name, dimension=vectors.shape[1], auto_id=False, metric_type="IP", index_params=index)
    for start in range(0, len(vectors), _INSERT_ROWS):
        if cancelled():
            raise BuildCancelled
        block = vectors[start : start + _INSERT_ROWS]
        client.insert(name, [{"id": start + n, "vector": row} for n, row in enumerate(block)])
    client.flush(name)
    client.load_collection(name)


def _drop(client: Any, name: str) -> None:
    _live.discard(name)
    try:
        client.drop_collection(name)
    except Exception as error:  # the next build tries again
        _log.warning("milvus collection not dropped", extra={"milvus_collection": name, "error": str(error)})
