"""Milvus: a cluster reached by its address, or milvus-lite in a file. An optional extra, imported when built.

A segment is a Milvus collection of its own, whose primary keys are row numbers. The segment's engine file names it, and
a restart goes on with it. Once no file on disk names it, it is dropped: with the segment's last search or, when the
process died before, by the next start or build. SQLite stays the record, and a cluster that fails is answered for by a
scan.
"""

from __future__ import annotations

import importlib
import logging
import re
import uuid
import weakref
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from clip_core.wire import FloatArray
from index_service.backends.approximate import ApproximateSegment, restored
from index_service.backends.base import BoolArray, BuildCancelled, IntArray, Metric
from index_service.backends.bounds import longest_of
from index_service.backends.calibration import calibrated
from index_service.backends.exact import ExactBackend, ExactSegment
from index_service.backends.seekers import Setting, ladder

_log = logging.getLogger("index_service.milvus")
_INSERT_ROWS = 2000
_MAX_EF = 2048
_ATTACH_S = 20.0  # for each answer that a start waits for
_live: set[str] = set()


class MilvusSeeker:
    """One collection of N rows under an HNSW index; the knob is ef. Filters are left to the caller."""

    knob = "ef"
    filters = False
    unseen = None

    def __init__(self, client: Any, name: str, rows: int, segments: Path) -> None:
        self.efforts: Sequence[int] = ladder(16, _MAX_EF)
        self._client, self._name, self._rows = client, name, rows
        _live.add(name)
        released = weakref.finalize(self, _release, client, name, segments)
        released.atexit = False  # the driver is gone by then

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

    def write(self, path: Path, notes: dict[str, Any]) -> None:
        """The notes, which name the collection: its rows are kept by Milvus."""
        path.write_bytes(orjson.dumps(notes, option=orjson.OPT_SERIALIZE_NUMPY))


@dataclass(frozen=True)
class MilvusBackend:
    """`uri` is an address, or the path of a milvus-lite file; `prefix` names the collections made for this one.

    `segments` is the folder of the segments on disk, whose engine files name the collections that are kept.
    """

    uri: str
    prefix: str
    segments: Path
    token: str = ""
    effort: int = 128
    recall_target: float | None = None
    queries: FloatArray | None = field(default=None, compare=False)
    metric: Metric = "cosine"

    engine = "milvus"
    apart = False  # Milvus is another process already, and milvus-lite's file is held by this one

    def build(
        self, vectors: FloatArray, cancelled: Callable[[], bool] = lambda: False
    ) -> ApproximateSegment | ExactSegment:
        """See `Backend.build`."""
        if not len(vectors):
            return ExactBackend(self.metric).build(vectors)
        client, name = self._client(), f"{self.prefix}_{uuid.uuid4().hex}"
        try:
            _fill(client, name, vectors, cancelled)
        except BaseException:
            _drop(client, name)
            raise
        seeker = MilvusSeeker(client, name, len(vectors), self.segments)
        segment = ApproximateSegment(
            self.engine,
            vectors,
            seeker,
            Setting(self.effort),
            {"collection": name},
            longest=longest_of(vectors, self.metric),
        )
        return calibrated(segment, self.queries, self.recall_target)

    def load(self, path: Path, vectors: FloatArray) -> ApproximateSegment:
        """The segment of `vectors` that was saved at `path`. Raises RuntimeError when Milvus doesn't hold it whole."""
        notes = orjson.loads(path.read_bytes())
        name = notes["described"]["collection"]
        try:
            client = self._client()
            held = _attached(client, name)
        except Exception as error:  # whatever the driver raises
            raise RuntimeError(f"Milvus has no {name}: {error}") from error
        if held != len(vectors):
            raise RuntimeError(f"Milvus has {held} rows in {name}, not {len(vectors)}")
        seeker = MilvusSeeker(client, name, len(vectors), self.segments)
        return restored(self.engine, vectors, seeker, notes, self.metric)

    def _client(self) -> Any:
        """A client; what earlier processes left behind is dropped."""
        client = importlib.import_module("pymilvus").MilvusClient(uri=self.uri, token=self.token, timeout=_ATTACH_S)
        own, kept = re.compile(rf"{re.escape(self.prefix)}_[0-9a-f]{{32}}"), _live | _named(self.segments)
        for name in client.list_collections():
            if own.fullmatch(name) and name not in kept:
                client.drop_collection(name)
        return client


def _named(segments: Path) -> set[str]:
    """The collections that segments on disk name; a draft isn't one yet."""
    names = set()
    for path in segments.glob("[0-9]*/engine"):
        with suppress(OSError, ValueError, KeyError, TypeError):  # removed meanwhile, or another engine's
            names.add(orjson.loads(path.read_bytes())["described"]["collection"])
    return names


def _attached(client: Any, name: str) -> int:
    """How many rows the collection has, which is loaded for searches first."""
    client.load_collection(name, timeout=_ATTACH_S)
    answer = client.query(name, output_fields=["count(*)"], consistency_level="Strong", timeout=_ATTACH_S)
    return int(answer[0]["count(*)"])


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


def _release(client: Any, name: str, segments: Path) -> None:
    """The last search is done: drop what no segment on disk names. When the service stops, one still does."""
    _live.discard(name)
    if name not in _named(segments):
        _drop(client, name)


def _drop(client: Any, name: str) -> None:
    try:
        client.drop_collection(name)
    except Exception as error:  # the next build tries again
        _log.warning("milvus collection not dropped", extra={"milvus_collection": name, "error": str(error)})
