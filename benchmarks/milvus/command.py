"""Collections whose record is Milvus against Milvus' own Python client, on one real server of this machine.

    make bench-milvus

Both ask the same server, in turn, for the same vectors from a seeded generator, with the same index and the same
consistency. Searches of both are of the very same collection. The client's upserts go into a collection of ids,
vectors and metadata alone; ours also write what filters need. Then: memory of the index service as the collection
grows, writes of one replica seen by another, and a move of a collection in use. The last line is one JSON document
with `bars`.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from benchmarks.index.data import DIM, make
from benchmarks.index.live import BATCH, NAME, K, LiveIndex, recall
from benchmarks.lib.milvus_server import MilvusServer
from benchmarks.lib.reports import finish, head, judge, options, show
from benchmarks.milvus.moving import move_in_use
from clip_core.wire import FloatArray, encode_vector
from index_service.engines.exact.scan import search_exact
from index_service.milvus.schema import Names

BARS = {
    "search_vs_pymilvus_p50": (1.15, "≤"),
    "search_batch_16_vs_pymilvus_p50": (1.15, "≤"),
    "upserts_vs_pymilvus": (0.85, "≥"),
    "memory_at_all_rows_vs_10k": (1.1, "≤"),
    "writes_of_one_replica_missed_by_the_other": (0.0, "≤"),
    "move_failed_requests": (0.0, "≤"),
    "move_lost_items": (0.0, "≤"),
}
FIRST, QUERIES, ROUNDS = 10_000, 320, 5
_PREFIX, _EF = "bench", 128
_INDEXED_S = 120.0  # at most


class PymilvusPeer:
    """pymilvus, which asks the server by itself."""

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
        self._ours = Names(_PREFIX).collection(NAME)

    def fill(self, images: FloatArray) -> float:
        """Upsert rows in batches as `LiveIndex.fill` does; vectors a second."""
        started = time.perf_counter()
        for start in range(0, len(images), BATCH):
            rows = range(start, min(start + BATCH, len(images)))
            items = [{"id": str(row), "vector": images[row], "metadata": {"hot": row % 100 == 0}} for row in rows]
            self._client.upsert("peer", items)
        return len(images) / (time.perf_counter() - started)

    def search(self, queries: FloatArray) -> float:
        """ms of one call, for our collection."""
        started = time.perf_counter()
        self._client.search(
            self._ours,
            list(queries),
            limit=K,
            search_params={"metric_type": "IP", "params": {"ef": _EF}},
            consistency_level="Eventually",
        )
        return (time.perf_counter() - started) * 1e3

    def settle(self, rows: int) -> None:
        """Seal and index what was written, so that both are asked about the same state."""
        self._client.flush(self._ours, timeout=600)
        deadline = time.monotonic() + _INDEXED_S
        while time.monotonic() < deadline:
            state = self._client.describe_index(self._ours, "vector")
            if state.get("pending_index_rows", 0) == 0 and state.get("indexed_rows", 0) >= rows:
                break
            time.sleep(1)
        time.sleep(5)


def compared(live: LiveIndex, peer: PymilvusPeer, queries: FloatArray) -> dict[str, float]:
    """p50 of batches of 1 and 16, each side all of a round before the other has its turn."""
    figures: dict[str, float] = {}
    for size, name in ((1, "search"), (16, "search_batch_16")):
        batches = [queries[start : start + size] for start in range(0, len(queries) - size + 1, size)]
        ours, theirs = list[float](), list[float]()
        for _ in range(ROUNDS):
            theirs += [peer.search(batch) for batch in batches]
            ours += [live.search(batch, consistency="eventually")[0] for batch in batches]
        figures[f"{name}_p50_ms"], figures[f"{name}_pymilvus_p50_ms"] = map(statistics.median, (ours, theirs))
        figures[f"{name}_vs_pymilvus_p50"] = statistics.median(ours) / statistics.median(theirs)
    return figures


def missed(one: LiveIndex, other: LiveIndex, images: FloatArray, tries: int) -> int:
    """How many of so many writes that one replica acknowledged a search of the other, strong, does not find."""
    lost = 0
    for n in range(tries):
        id_, vector = f"9{n:06}", images[n] + 0.05 * np.roll(images[n], 1)
        item = {"id": id_, "vector": encode_vector(vector / np.linalg.norm(vector)), "metadata": {"try": n}}
        one.call("POST", f"/collections/{NAME}/items", {"fingerprint": "bench", "items": [item]})
        _, found = other.search(np.array([vector]), consistency="strong", filter={"try": n})
        lost += found != [[int(id_)]]
        one, other = other, one
    return lost


def measure(rows: int, moved: int, tries: int, console: Console) -> dict[str, Any]:
    """The whole run."""
    images, queries = make(rows, QUERIES)
    figures: dict[str, float] = {}
    with tempfile.TemporaryDirectory(prefix="clipserve-milvus-") as temporary:
        folder = Path(temporary)
        (folder / "milvus").mkdir()
        with MilvusServer(folder / "milvus") as server:
            given = {"MILVUS_URI": server.uri, "MILVUS_PREFIX": _PREFIX, "STORE": "milvus", "MILVUS_TIMEOUT_S": 60}
            with LiveIndex(folder / "a", **given) as live, LiveIndex(folder / "b", **given) as second:
                live.create(DIM)
                peer = PymilvusPeer(server)
                theirs, ours = list[float](), list[float]()
                for start in range(0, FIRST, FIRST // 5):  # in turn
                    some = images[start : start + FIRST // 5]
                    theirs.append(peer.fill(some))
                    ours.append(live.fill(some, first=start))
                figures["upserts_per_s"], figures["upserts_pymilvus_per_s"] = map(statistics.median, (ours, theirs))
                figures["upserts_vs_pymilvus"] = statistics.median(ours) / statistics.median(theirs)
                peer.settle(FIRST)
                figures |= compared(live, peer, queries)
                truth = search_exact(images[:FIRST], queries, K, None)[1]
                figures["recall"] = recall(live.search(queries, consistency="strong")[1], truth)
                before = live.memory()[0]
                console.print(figures)
                figures["fill_per_s"] = live.fill(images[FIRST:], first=FIRST)
                for query in queries:
                    live.search(query[None])
                figures["memory_at_10k_mb"], figures["memory_at_all_rows_mb"] = before / 1e6, live.memory()[0] / 1e6
                figures["memory_at_all_rows_vs_10k"] = live.memory()[0] / before
                figures["writes_of_one_replica_missed_by_the_other"] = float(missed(live, second, images, tries))
                console.print(figures)
                figures |= move_in_use(live, images[:moved], folder / "move.json", console)
    show(figures, BARS, console)
    return {"figures": figures, "rows": rows, "moved": moved, "tries": tries}


def main() -> None:
    """Measure, print, and save when asked to."""
    parser = options(__doc__)
    parser.add_argument("--rows", type=int, default=300_000)
    parser.add_argument("--moved", type=int, default=100_000)
    parser.add_argument("--tries", type=int, default=1000, help="writes of one replica, each looked for by the other")
    given, console, started = parser.parse_args(), Console(), time.monotonic()
    report = {**head("milvus", "make bench-milvus"), **measure(given.rows, given.moved, given.tries, console)}
    report |= {"seconds": round(time.monotonic() - started), "bars": judge(report["figures"], BARS)}
    finish(report, given.save)
