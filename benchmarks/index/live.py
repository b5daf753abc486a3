"""The service as its clients meet it: one process, HTTP, every write durable."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
import time
from copy import copy
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import psutil

from clip_core.index.keepalive_connection import KeepaliveConnection
from clip_core.wire import FloatArray, encode_vector
from index_service.engines.base import IntArray

NAME, BATCH, K = "bench", 256, 10
_START_S, _MERGE_S = 300.0, 600.0
_QUIET_S = 17.0  # longer than the service waits before it merges what was written last


class LiveIndex:
    """`python -m index_service` over `data_dir` on a free port, with other `settings`; a context manager."""

    def __init__(self, data_dir: Path, **settings: object) -> None:
        given = {"PORT": 0, "DATA_DIR": data_dir, "LOG_LEVEL": "INFO", "RECALL_SAMPLE_RATE": 0, **settings}
        env = {**os.environ, **{f"CLIPSERVE_INDEX_{name}": str(value) for name, value in given.items()}}
        started = time.perf_counter()
        command = [sys.executable, "-m", "index_service"]
        self._process = subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True)
        assert self._process.stderr is not None
        line = next((each for each in self._process.stderr if "port=" in each), "")
        threading.Thread(target=self._process.stderr.read, daemon=True).start()
        found = re.search(r"port=(\d+)", line)
        if found is None:
            raise RuntimeError(f"the index service didn't start: {line}")
        self.url = f"http://127.0.0.1:{found[1]}"
        self._connection = KeepaliveConnection(self.url, _MERGE_S)
        while self._connection.call("GET", "/readyz")[0] != 200:
            if time.perf_counter() - started > _START_S:
                raise RuntimeError("the index service isn't ready")
            time.sleep(0.02)
        self.ready_s = time.perf_counter() - started

    def __enter__(self) -> LiveIndex:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(60)

    def call(self, method: str, path: str, body: object = None) -> Any:
        """The answer's JSON. Raises RuntimeError for anything but 2xx."""
        data = None if body is None else orjson.dumps(body)
        status, answer = self._connection.call(method, path, data)
        if status >= 300:
            raise RuntimeError(f"{method} {path}: {status} {answer[:300]!r}")
        return orjson.loads(answer)

    def again(self) -> LiveIndex:
        """The same service over another connection, for another thread."""
        other = copy(self)
        other._connection = KeepaliveConnection(self.url, _MERGE_S)
        return other

    def create(self, dim: int, name: str = NAME, **given: object) -> None:
        """The collection."""
        self.call("PUT", f"/collections/{name}", {"model": "bench", "fingerprint": "bench", "dim": dim, **given})

    def fill(self, images: FloatArray, name: str = NAME, first: int = 0) -> float:
        """Upsert rows in batches, one client; vectors a second. One of a hundred rows has `hot` true.

        Ids are numbers from `first` on.
        """
        started = time.perf_counter()
        for start in range(0, len(images), BATCH):
            rows = range(start, min(start + BATCH, len(images)))
            vectors = [(row, encode_vector(images[row])) for row in rows]
            items = [
                {"id": str(first + row), "vector": text, "metadata": {"hot": row % 100 == 0}} for row, text in vectors
            ]
            self.call("POST", f"/collections/{name}/items", {"fingerprint": "bench", "items": items})
        return len(images) / (time.perf_counter() - started)

    def search(self, queries: FloatArray, **given: object) -> tuple[float, list[list[int]]]:
        """One call with all the queries: ms, and the rows found for each."""
        body = searches(queries, **given)
        started = time.perf_counter()
        answer = self.call("POST", "/search", body)
        ms = (time.perf_counter() - started) * 1e3
        return ms, [[int(hit["id"]) for hit in result["hits"]] for result in answer["results"]]

    def segment(self) -> dict[str, Any]:
        """The main segment, as described."""
        described: dict[str, Any] = self.call("GET", f"/collections/{NAME}")["segment"]
        return described

    def settled(self, most_delta: int) -> dict[str, Any]:
        """Wait until at most `most_delta` rows lie outside the main segment, and no merge has run for a while."""
        started = busy = time.monotonic()
        while time.monotonic() - busy < _QUIET_S:
            if psutil.Process(self._process.pid).children() or self.segment()["delta"] > most_delta:
                busy = time.monotonic()
            if busy - started > _MERGE_S:
                raise RuntimeError("the merges don't end")
            time.sleep(0.25)
        return self.segment()

    def memory(self) -> tuple[int, int]:
        """Bytes of the process: what it holds, and pages of mapped files, which the kernel takes back when it likes."""
        memory = psutil.Process(self._process.pid).memory_info()
        return memory.rss - memory.shared, memory.shared  # `shared` is what is mapped from files


def searches(queries: FloatArray, **given: object) -> dict[str, Any]:
    """The body of one call with all the queries."""
    one = {"collection": NAME, "k": K, "include": [], **given}
    return {"fingerprint": "bench", "searches": [{**one, "vector": encode_vector(query)} for query in queries]}


def latencies(live: LiveIndex, queries: FloatArray, **given: object) -> list[float]:
    """ms of one search each."""
    return [live.search(query[None], **given)[0] for query in queries]


def recall(found: list[list[int]], truth: IntArray) -> float:
    """Mean share of the truth (B, K) found."""
    return float(np.mean([len(np.intersect1d(a, b)) / K for a, b in zip(found, truth, strict=True)]))


def while_compacting(live: LiveIndex, images: FloatArray, queries: FloatArray) -> list[float]:
    """ms of searches from the upsert that starts a merge until its end; none where all rows are scanned anyway."""
    if live.segment()["engine"] in ("exact", "certified"):
        return []
    live.fill(images[: len(images) // 8 + BATCH])
    waiting, deadline = live.segment()["delta"], time.monotonic() + _MERGE_S
    times: list[float] = []
    while live.segment()["delta"] >= waiting and time.monotonic() < deadline:
        times += latencies(live, queries[:32])
    return times
