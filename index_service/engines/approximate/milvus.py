"""Milvus: a cluster reached by its address, or milvus-lite in a file. An optional extra, imported when built.

A segment is a Milvus collection of its own, whose primary keys are row numbers. The segment's engine file names it, and
a restart goes on with it. Once no file on disk names it, it is dropped: with the segment's last search or, when the
process died before, by the next start or build. SQLite stays the record, and a cluster that fails is answered for by a
scan.
"""

from __future__ import annotations

import asyncio
import importlib
import logging
import re
import threading
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
from index_service.engines.approximate.calibration import calibrated
from index_service.engines.approximate.candidate_search import SearchParameters, effort_ladder
from index_service.engines.approximate.peer_breaker import PeerBreaker, PeerDown
from index_service.engines.approximate.segment import ApproximateSegment, restored_segment
from index_service.engines.base import BoolArray, BuildCancelled, IntArray, Metric
from index_service.engines.bounds import max_norm_of
from index_service.engines.exact.segment import ExactBackend, ExactSegment

_log = logging.getLogger("index_service.milvus")
_INSERT_ROWS = 2000
_MAX_EF = 2048
_SEARCH_S, _CONNECT_S, _ATTACH_S = 2.0, 3.0, 10.0  # a driver without a timeout retries 75 times
_QUERY_S = 0.01  # for each of many queries
_LITE_S = 20.0  # milvus-lite is started first
_FILL_S = 60.0  # one step of a build, which nobody waits for
_live: set[str] = set()
_breakers: dict[str, PeerBreaker] = {}


class MilvusSearch:
    """One collection of N rows with an HNSW index. The effort is ef. It takes no mask."""

    effort_name = "ef"
    takes_mask = False
    unprobed = None
    remote = True

    def __init__(self, client: Any, name: str, rows: int, segments: Path, breaker: PeerBreaker) -> None:
        self.efforts: Sequence[int] = effort_ladder(16, _MAX_EF)
        self._client, self._name, self._rows, self._breaker = client, name, rows, breaker
        _live.add(name)
        released = weakref.finalize(self, _release, client, name, segments)
        released.atexit = False  # the driver is gone by then

    def search(self, queries: FloatArray, count: int, effort: int, mask: BoolArray | None) -> IntArray:
        """See `CandidateSearch.search`. Nothing is found while Milvus can't be reached, so that a scan answers."""
        del mask
        most = min(count, self._rows)
        parameters = {"metric_type": "IP", "params": {"ef": max(effort, most)}}
        rows = np.full((len(queries), most), -1, np.int64)
        try:
            with self._breaker.call():
                answers = self._client.search(
                    self._name,
                    queries.tolist(),
                    limit=most,
                    search_params=parameters,
                    timeout=_SEARCH_S + _QUERY_S * len(queries),
                )
        except PeerDown:  # logged when it began
            return rows
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
        search = MilvusSearch(client, name, len(vectors), self.segments, self._breaker)
        segment = ApproximateSegment(
            self.engine,
            vectors,
            search,
            SearchParameters(self.effort),
            {"collection": name},
            max_norm=max_norm_of(vectors, self.metric),
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
        search = MilvusSearch(client, name, len(vectors), self.segments, self._breaker)
        return restored_segment(self.engine, vectors, search, notes, self.metric)

    def _client(self) -> Any:
        """A client; what earlier processes left behind is dropped."""
        made, patience = importlib.import_module("pymilvus").MilvusClient, _CONNECT_S if "://" in self.uri else _LITE_S
        own, kept = re.compile(rf"{re.escape(self.prefix)}_[0-9a-f]{{32}}"), _live | _named(self.segments)
        with self._breaker.call():
            client = made(uri=self.uri, token=self.token, timeout=patience)
            for name in client.list_collections(timeout=_ATTACH_S):
                if own.fullmatch(name) and name not in kept:
                    client.drop_collection(name, timeout=_ATTACH_S)
        return client

    @property
    def _breaker(self) -> PeerBreaker:
        """One for all collections there, so that only the first waits for a Milvus that doesn't answer."""
        return _breakers.setdefault(self.uri, PeerBreaker())


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
    client.create_collection(
        name, dimension=vectors.shape[1], auto_id=False, metric_type="IP", index_params=index, timeout=_FILL_S
    )
    for start in range(0, len(vectors), _INSERT_ROWS):
        if cancelled():
            raise BuildCancelled
        block = vectors[start : start + _INSERT_ROWS]
        client.insert(name, [{"id": start + n, "vector": row} for n, row in enumerate(block)], timeout=_FILL_S)
    client.flush(name, timeout=_FILL_S)
    client.load_collection(name, timeout=_FILL_S)


def _release(client: Any, name: str, segments: Path) -> None:
    """The last search is done: drop what no segment on disk names. When the service stops, one still does."""
    _live.discard(name)
    if name in _named(segments):
        return
    if _on_event_loop():
        threading.Thread(target=_drop, args=(client, name), daemon=True).start()
    else:
        _drop(client, name)


def _on_event_loop() -> bool:
    """Whether everybody would wait for what this thread waits for."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _drop(client: Any, name: str) -> None:
    try:
        client.drop_collection(name, timeout=_SEARCH_S)
    except Exception as error:  # the next build tries again
        _log.warning("milvus collection not dropped", extra={"milvus_collection": name, "error": str(error)})
