"""Milvus' own Python client on the same server: the same vectors, the same kind of index, the same consistency."""

from __future__ import annotations

import time
from typing import Any

from benchmarks.index.data import DIM
from benchmarks.index.live import BATCH, NAME, K
from benchmarks.lib.milvus_server import MilvusServer
from clip_core.wire import FloatArray
from index_service.milvus.schema import Names

PREFIX, EF = "bench", 128
_INDEXED_S = 1500.0  # at most: a million rows on two cores


class PymilvusPeer:
    """Upserts into a collection of its own of ids, vectors and metadata; searches ours, as we do."""

    def __init__(self, server: MilvusServer) -> None:
        from pymilvus import DataType, MilvusClient

        self._client: Any = MilvusClient(server.uri, timeout=60)
        schema = MilvusClient.create_schema(auto_id=False)
        schema.add_field("id", DataType.VARCHAR, is_primary=True, max_length=2048)
        schema.add_field("vector", DataType.FLOAT_VECTOR, dim=DIM)
        schema.add_field("metadata", DataType.JSON)
        index = self._client.prepare_index_params()
        index.add_index("vector", index_type="HNSW", metric_type="IP", params={"M": 32, "efConstruction": 200})
        self._client.create_collection("peer", schema=schema, index_params=index)
        self._ours = Names(PREFIX).collection(NAME)

    def fill(self, images: FloatArray, first: int = 0) -> float:
        """Upsert rows in batches as `LiveIndex.fill` does; vectors a second."""
        started = time.perf_counter()
        for start in range(0, len(images), BATCH):
            rows = range(start, min(start + BATCH, len(images)))
            items = [
                {"id": str(first + row), "vector": images[row], "metadata": {"hot": row % 100 == 0}} for row in rows
            ]
            self._client.upsert("peer", items)
        return len(images) / (time.perf_counter() - started)

    def search(self, queries: FloatArray) -> float:
        """ms of one call for ids and scores of our collection."""
        started = time.perf_counter()
        self._client.search(
            self._ours,
            list(queries),
            limit=K,
            search_params={"metric_type": "IP", "params": {"ef": EF}},
            consistency_level="Eventually",
        )
        return (time.perf_counter() - started) * 1e3

    def settle(self, rows: int) -> None:
        """Seal and index what was written, so that both are asked about the same state."""
        self._client.flush(self._ours, timeout=600)
        deadline = time.monotonic() + _INDEXED_S
        while time.monotonic() < deadline and self._indexed_rows() < rows:
            time.sleep(1)
        time.sleep(5)

    def _indexed_rows(self) -> int:
        """Those that query nodes search by the index that was asked for.

        Others are in segments that still grow; Milvus searches these by an index of its own, whose recall is low.
        """
        loaded = self._client.list_loaded_segments(self._ours)
        return sum(segment.num_rows for segment in loaded if segment.index_name)
