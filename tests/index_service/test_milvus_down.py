"""A Milvus that refuses, or accepts and never answers, costs its own searches little and other collections nothing."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clip_core.wire import encode_vector
from index_service.collection.registry import Registry
from index_service.engines.approximate.candidate_search import SearchParameters
from index_service.engines.approximate.milvus import MilvusBackend, MilvusSearch
from index_service.engines.approximate.peer_breaker import PeerBreaker, PeerDown
from index_service.engines.approximate.segment import ApproximateSegment
from index_service.record.store import CollectionInfo, Store
from index_service.segments.view import view_of
from index_service.settings import IndexSettings
from tests.index_service.helpers import block_of, http_of, item, made, unit_rows

DIM, COUNT = 4, 3000
ROWS = unit_rows(COUNT, DIM)


@pytest.fixture
def silent() -> Iterator[str]:
    """The address of a server that accepts and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


@pytest.fixture
def refusing() -> str:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    return f"http://127.0.0.1:{port}"


class NoAnswer:
    """A driver whose searches wait for as long as they may, a tenth of that here, and fail."""

    def __init__(self) -> None:
        self.threads: list[str] = []

    def search(self, *_: Any, timeout: float, **__: Any) -> Any:
        self.threads.append(threading.current_thread().name)
        time.sleep(timeout / 10)
        raise RuntimeError("no answer")

    def drop_collection(self, *_: Any, **__: Any) -> None:
        self.threads.append(threading.current_thread().name)


def in_milvus(store: Store, name: str, uri: str) -> None:
    """Record a collection whose segment on disk names a collection of that Milvus."""
    settings = IndexSettings(data_dir=store.path.parent, milvus_uri=uri)
    collection = made(store, CollectionInfo(name, "m", "f", DIM, engine="milvus"), settings)
    collection.upsert([item(f"i{n}", row) for n, row in enumerate(ROWS[:50])], ROWS[:50])
    draft = collection._segments.files.draft()
    candidate_search = MilvusSearch(NoAnswer(), f"x_{name}", 50, store.path.parent, PeerBreaker())
    with draft.writer() as writer:
        writer.append(block_of(collection.view, np.arange(50)))
        rows, described = writer.mapped().vectors, {"collection": f"x_{name}"}
        writer.save(ApproximateSegment("milvus", rows, candidate_search, SearchParameters(64), described))
    collection._segments.files.commit(draft)


@pytest.mark.parametrize("kind", ["silent", "refusing"])
async def test_a_start_loads_every_collection(store: Store, kind: str, request: pytest.FixtureRequest) -> None:
    uri = request.getfixturevalue(kind)
    for name in "abcd":
        in_milvus(store, name, uri)
    settings = IndexSettings(data_dir=store.path.parent, milvus_uri=uri)
    registry, began = Registry(store, settings), time.monotonic()
    await asyncio.to_thread(registry.load)
    assert time.monotonic() - began < 10  # three of them are waited for once
    async with http_of(settings, registry) as client:
        searches = [{"collection": name, "vector": encode_vector(ROWS[7]), "k": 1} for name in "abcd"]
        results = (await client.post("/search", json={"searches": searches})).json()["results"]
    assert [result["hits"][0]["id"] for result in results] == ["i7"] * 4


def test_a_build_fails_at_once_after_the_first(silent: str, tmp_path: Path) -> None:
    backend = MilvusBackend(silent, "p", tmp_path)
    with pytest.raises(Exception, match="connect"):
        backend.build(ROWS)
    with pytest.raises(PeerDown):
        backend.build(ROWS)


async def test_searches_never_wait_on_the_event_loop(settings: IndexSettings, registry: Registry) -> None:
    collection, driver = registry.create(CollectionInfo("c", "m", "f", DIM, engine="milvus"))[0], NoAnswer()
    collection.upsert([item(f"i{n}", row) for n, row in enumerate(ROWS)], ROWS)
    candidate_search = MilvusSearch(driver, "x", COUNT, settings.data_dir, PeerBreaker(patience_s=0.1, pause_s=60))
    main = ApproximateSegment("milvus", ROWS, candidate_search, SearchParameters(64), {"collection": "x"})
    collection.view = view_of(main, block_of(collection.view, np.arange(COUNT)))
    async with http_of(settings, registry) as client:
        search = {"collection": "c", "vector": encode_vector(ROWS[7]), "k": 1}
        for _ in range(5):
            (result,) = (await client.post("/search", json={"searches": [search]})).json()["results"]
            assert result["hits"][0]["id"] == "i7"
    assert len(driver.threads) == 1  # and is left out from then on
    assert threading.current_thread().name not in driver.threads


async def test_what_is_released_on_the_event_loop_is_dropped_elsewhere(tmp_path: Path) -> None:
    driver = NoAnswer()
    candidate_search = MilvusSearch(driver, "x", 1, tmp_path, PeerBreaker())
    del candidate_search
    for _ in range(100):
        await asyncio.sleep(0.01)
        if driver.threads:
            break
    assert driver.threads
    assert threading.current_thread().name not in driver.threads


def test_a_breaker_lets_one_call_try_after_each_pause() -> None:
    now = [0.0]
    breaker = PeerBreaker(patience_s=0.5, pause_s=1.0, clock=lambda: now[0])

    def made(seconds: float, *, fails: bool) -> bool:
        try:
            with breaker.call():
                now[0] += seconds
                if fails:
                    raise RuntimeError
        except PeerDown:
            return False
        except RuntimeError:
            return True
        return True

    assert [made(0.1, fails=True) for _ in range(3)] == [True] * 3
    assert [made(2, fails=True), made(0, fails=False)] == [True, False]
    now[0] += 1.01
    assert [made(2, fails=True), made(0, fails=False)] == [True, False]
    now[0] += 1.5
    assert not made(0, fails=False)
    now[0] += 0.6
    assert [made(0.1, fails=False), made(0.1, fails=False)] == [True, True]
