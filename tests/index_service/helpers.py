"""What several of these tests share: vectors, collections, and the real process."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from clip_core.wire import FloatArray
from index_service.collection.collection import Collection
from index_service.collection.registry import Registry
from index_service.engines.approximate.segment import ApproximateSegment
from index_service.engines.base import IntArray, Metric
from index_service.engines.faiss.backend import FaissBackend
from index_service.http.app import create_app
from index_service.metadata.columns import Packed, RowBlock
from index_service.record.store import CollectionInfo, Store, StoredItem
from index_service.segments.engine_choice import Engines
from index_service.segments.view import View
from index_service.settings import IndexSettings

ROOT = Path(__file__).parents[2]
START_S = 20.0
JSON = {"Content-Type": "application/json"}


def unit_rows(count: int, dim: int, seed: int = 0) -> FloatArray:
    """(count, dim) float32, unit norm."""
    rows = np.random.default_rng(seed).standard_normal((count, dim))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def rows_of(metric: Metric, count: int, dim: int, seed: int = 0) -> FloatArray:
    """(count, dim) float32: unit rows for cosines; for inner products the same with norms around 3, of wide spread."""
    rows = unit_rows(count, dim, seed)
    if metric == "cosine":
        return rows
    return 3 * np.random.default_rng(seed).lognormal(0, 0.7, (count, 1)).astype(np.float32) * rows


def item(id_: str, vector: FloatArray, metadata: dict[str, Any] | None = None) -> StoredItem:
    """A row of the record."""
    return StoredItem(id_, vector.astype("<f4").tobytes(), json.dumps(metadata or {}).encode())


def block_of(view: View, places: IntArray) -> RowBlock:
    """The rows of these numbers, ascending."""
    rows = places.tolist()
    ids, metadata = ([column[row] for row in rows] for column in (view.rows.ids.blobs, view.rows.metadata))
    return RowBlock(view.seqs[places], view.vectors_of(places), Packed.of(ids), Packed.of(metadata))


def reloaded(factory: str, rows: FloatArray, path: Path) -> tuple[ApproximateSegment, ApproximateSegment]:
    """A FAISS segment as it was built, and as it is read from `path`."""
    backend = FaissBackend(factory)
    built = backend.build(rows)
    assert isinstance(built, ApproximateSegment)
    assert built.save is not None
    built.save(path)
    return built, backend.load(path, rows)


def made(store: Store, info: CollectionInfo, settings: IndexSettings) -> Collection:
    """A collection that is new in the record."""
    return Collection(replace(info, key=store.add_collection(info)), store, Engines(settings))


def http_of(settings: IndexSettings, registry: Registry) -> httpx.AsyncClient:
    """A client of the app, without a socket."""
    transport = httpx.ASGITransport(create_app(settings, registry))
    return httpx.AsyncClient(transport=transport, base_url="http://localhost", headers=JSON, timeout=60)


class Service:
    """`python -m index_service` on a free port, in a process of its own."""

    def __init__(self, data_dir: Path, **settings: object) -> None:
        given = {"HOST": "127.0.0.1", "PORT": 0, "DATA_DIR": data_dir, **settings}
        ours = {f"CLIPSERVE_INDEX_{name.upper()}": str(value) for name, value in given.items()}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "index_service"],
            cwd=ROOT,
            env={**os.environ, **ours},
            stderr=subprocess.PIPE,
            text=True,
        )
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._drain, daemon=True)
        self._reader.start()

    def _drain(self) -> None:
        assert self.process.stderr is not None
        with self.process.stderr as stream:
            self.lines.extend(stream)

    def url(self) -> str:
        """Wait until it is ready, and say where it is."""
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline and self.process.poll() is None:
            found = re.search(r"host=(\S+) port=(\d+)", "".join(list(self.lines)))
            if found and _is_ready(f"http://{found[1]}:{found[2]}"):
                return f"http://{found[1]}:{found[2]}"
            time.sleep(0.02)
        raise AssertionError(f"not ready: {self.process.poll()} {self.lines}")

    def kill(self) -> None:
        """kill -9."""
        self.process.kill()
        self.wait()

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        self.process.terminate()
        return self.wait()

    def wait(self) -> int:
        """The exit code, with everything it wrote on stderr in `lines`."""
        try:
            code = self.process.wait(10)
        finally:
            self.process.kill()
        self._reader.join(5)
        return code


def _is_ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz").status_code == 200
    except httpx.TransportError:
        return False
