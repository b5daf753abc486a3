"""The record and what a restart costs: upserts acknowledged durable over HTTP, time to ready, memory.

    python -m benchmarks.index.record [--items N] [--save]

The peer of the upserts is SQLite itself: the same batches with `synchronous=FULL` and nothing around it. Memory is the
process's own once it is ready and has searched; the float32 vectors are mapped from a file, and the kernel may drop
them at any time. The last line is one JSON document with `bars`.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import orjson
import psutil

from benchmarks.lib.machine import machine
from clip_core.index.keepalive_connection import KeepaliveConnection
from clip_core.wire import FloatArray
from index_service.collection.collections import Collection
from index_service.record.schema import PAGE_BYTES
from index_service.record.store import CollectionInfo, Store, StoredItem
from index_service.segments.engine_choice import Engines
from index_service.settings import IndexSettings
from scripts.stack.live_stack import free_ports

RESULTS = Path(__file__).resolve().parent.parent / "results" / "record.json"
DIM, BATCH, CLIENTS, TIMED, LONE, FILL = 512, 256, 4, 100, 800, 8192
COLORS = ("red", "green", "blue")
MODEL = {"model": "m", "fingerprint": "f", "dim": DIM, "engine": "exact"}
BARS = {"upserts_per_s": (8000.0, "≥"), "restart_s": (10.0, "≤")}


def vectors(seed: int, count: int) -> FloatArray:
    """(count, DIM) float32, unit norm."""
    rows = np.random.default_rng(seed).standard_normal((count, DIM), np.float32)
    unit: FloatArray = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return unit


def body(batch: int, size: int) -> bytes:
    """An upsert of `size` new items."""
    start = batch * size
    encoded = [base64.b64encode(row.tobytes()).decode() for row in vectors(batch, size)]
    items = [
        {"id": f"item-{start + n}", "vector": text, "metadata": {"color": COLORS[n % 3], "n": start + n}}
        for n, text in enumerate(encoded)
    ]
    return orjson.dumps({"fingerprint": "f", "items": items})


@contextmanager
def service(folder: Path) -> Iterator[tuple[str, psutil.Process, float]]:
    """The index service over `folder`: its address, its process, and the seconds that it took to be ready."""
    (port,), started = free_ports(1), time.monotonic()
    env = {**os.environ, "CLIPSERVE_INDEX_PORT": str(port), "CLIPSERVE_INDEX_DATA_DIR": str(folder)}
    env["CLIPSERVE_INDEX_LOG_LEVEL"] = "WARNING"
    process = subprocess.Popen([sys.executable, "-m", "index_service"], env=env)
    url = f"http://127.0.0.1:{port}"
    try:
        while not _ready(url):
            time.sleep(0.02)
        yield url, psutil.Process(process.pid), time.monotonic() - started
    finally:
        process.terminate()
        process.wait()


def _ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz").status_code == 200
    except httpx.TransportError:
        return False


def upserts(url: str, clients: int, first: int, size: int = BATCH, calls: int = TIMED) -> float:
    """Vectors a second of `calls` with `size` items each, sent by `clients` at once over connections of their own."""
    bodies = [body(first + n, size) for n in range(calls)]
    connections = [KeepaliveConnection(url, 60) for _ in range(clients)]

    def send(connection: KeepaliveConnection, own: list[bytes]) -> None:
        for content in own:
            status, answer = connection.call("POST", "/collections/c/items", content)
            assert status == 200
            assert {result["status"] for result in orjson.loads(answer)["results"]} == {200}

    started = time.perf_counter()
    with ThreadPoolExecutor(clients) as senders:
        list(senders.map(send, connections, [bodies[n::clients] for n in range(clients)]))
    return calls * size / (time.perf_counter() - started)


def sqlite_alone(folder: Path) -> float:
    """Rows a second of the same batches, inserted by SQLite with nothing around it."""
    rows = [row.tobytes() for row in vectors(0, BATCH)]
    with closing(sqlite3.connect(folder / "peer.sqlite3", isolation_level=None)) as db:
        for pragma in (f"page_size={PAGE_BYTES}", "journal_mode=WAL", "synchronous=FULL"):
            db.execute(f"PRAGMA {pragma}").close()
        db.execute("CREATE TABLE t (seq INTEGER PRIMARY KEY, id TEXT UNIQUE, vector BLOB, metadata BLOB)")
        started = time.perf_counter()
        for batch in range(TIMED):
            db.execute("BEGIN IMMEDIATE")
            named = ((f"item-{batch * BATCH + n}", row, b'{"n":1}') for n, row in enumerate(rows))
            db.executemany("INSERT INTO t (id, vector, metadata) VALUES (?,?,?)", named)
            db.execute("COMMIT")
    return TIMED * BATCH / (time.perf_counter() - started)


def fill(folder: Path, items: int) -> None:
    """A data folder with `items` items in a main segment."""
    store = Store(folder / "index.sqlite3")
    info = CollectionInfo("c", "m", "f", DIM, "exact")
    collection = Collection(replace(info, key=store.add_collection(info)), store, Engines(IndexSettings()))
    for start in range(0, items, FILL):
        rows = vectors(start, min(FILL, items - start))
        names = (
            (f"item-{start + n}", orjson.dumps({"color": COLORS[n % 3], "n": start + n})) for n in range(len(rows))
        )
        collection.upsert(
            [StoredItem(id_, row.tobytes(), text) for (id_, text), row in zip(names, rows, strict=True)], rows
        )
        if collection.merge_due():
            collection.compact()
    collection.compact()
    store.close()


def restart(folder: Path, items: int) -> dict[str, float]:
    """Seconds to ready, and memory after searches, as shares of the raw vectors."""
    with service(folder) as (url, process, seconds):
        query = {"collection": "c", "vector": base64.b64encode(vectors(1, 1).tobytes()).decode(), "k": 10}
        answer = httpx.post(f"{url}/search", json={"searches": [query] * 3}, timeout=60).json()
        assert [len(result["hits"]) for result in answer["results"]] == [10] * 3
        memory, raw = process.memory_info(), items * DIM * 4
        return {
            "restart_s": seconds,
            "own_memory_ratio": (memory.rss - memory.shared) / raw,  # `shared` is what is mapped from files
            "resident_ratio": memory.rss / raw,
        }


def measure(items: int) -> dict[str, float]:
    """All figures by name."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with service(folder / "fresh") as (url, _, _):
            httpx.put(f"{url}/collections/c", json=MODEL)
            upserts(url, 1, 10**9, size=1)  # warm-up
            figures = {  # before there is anything to merge
                f"lone_upserts_per_s_{clients}_clients": upserts(url, clients, 10**7 * clients, size=1, calls=LONE)
                for clients in (1, CLIENTS, 4 * CLIENTS)
            }
            upserts(url, 1, 10_000)
            figures["upserts_per_s"] = upserts(url, 1, 0)
            figures[f"upserts_per_s_{CLIENTS}_clients"] = upserts(url, CLIENTS, 1000)
        figures["sqlite_alone_per_s"] = sqlite_alone(folder)
        (folder / "full").mkdir()
        fill(folder / "full", items)
        runs = [restart(folder / "full", items) for _ in range(3)]
    return figures | {name: statistics.median(run[name] for run in runs) for name in runs[0]}


def bars(figures: dict[str, float]) -> list[dict[str, Any]]:
    """One for each figure that was asked for."""
    return [
        {"name": name, "value": figures[name], "bar": f"{sign} {bar:g}", "holds": _holds(figures[name], sign, bar)}
        for name, (bar, sign) in BARS.items()
    ]


def _holds(value: float, sign: str, bar: float) -> bool:
    return value >= bar if sign == "≥" else value <= bar


def main() -> None:
    """Measure, print, and save when asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=500_000)
    parser.add_argument("--save", action="store_true")
    given = parser.parse_args()
    figures = measure(given.items)
    for name, value in figures.items():
        print(f"{name:28} {value:12,.3f}")
    document = {"items": given.items, "figures": figures, "bars": bars(figures), "machine": machine()}
    if given.save:
        RESULTS.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(document))


if __name__ == "__main__":
    main()
