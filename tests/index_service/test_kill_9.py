"""Whatever was acknowledged is there after `kill -9`, at any moment, merges included."""

from __future__ import annotations

import itertools
import multiprocessing
import random
import threading
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import httpx
import pytest

from clip_core.wire import encode_vector
from tests.index_service import crashes
from tests.index_service.helpers import Service, unit_rows

DIM = 16
BATCH = 20
POOL = 400  # ids are taken again, so that upserts replace and tombstones arise
VECTORS = unit_rows(POOL, DIM)


def write(url: str, start: int, versions: dict[str, int]) -> int:
    """Upsert until the service dies; `versions` is what was acknowledged. The next version number."""
    version = start
    with httpx.Client(base_url=url) as client:
        while True:
            version += 1
            ids = [(version * BATCH + n) % POOL for n in range(BATCH)]
            items = [{"id": f"i{n}", "vector": encode_vector(VECTORS[n]), "metadata": {"v": version}} for n in ids]
            try:
                answer = client.post("/collections/c/items", json={"fingerprint": "f", "items": items})
            except httpx.TransportError:
                return version
            assert {result["status"] for result in answer.json()["results"]} == {200}
            versions.update({f"i{n}": version for n in ids})


def assert_all_there(url: str, versions: dict[str, int]) -> None:
    with httpx.Client(base_url=url) as client:
        listed = client.get("/collections/c/items", params={"limit": 1000}).json()["items"]
        recorded = {item["id"]: item["metadata"]["v"] for item in listed}
        assert all(recorded[id_] >= version for id_, version in versions.items())
        searches = [{"collection": "c", "vector": encode_vector(VECTORS[int(id_[1:])]), "k": 1} for id_ in recorded]
        results: list[Any] = client.post("/search", json={"fingerprint": "f", "searches": searches}).json()["results"]
        assert [result["hits"][0]["id"] for result in results] == list(recorded)
        assert [result["hits"][0]["metadata"]["v"] for result in results] == list(recorded.values())


def test_every_acknowledged_item_survives_kill_9(tmp_path: Path) -> None:
    versions: dict[str, int] = {}
    version, delay = 0, random.Random(0)
    for _ in range(3):
        service = Service(tmp_path, merge_min_rows=50)
        try:
            url = service.url()
            if not versions:
                created = httpx.put(f"{url}/collections/c", json={"model": "m", "fingerprint": "f", "dim": DIM})
                assert created.status_code == 201
            assert_all_there(url, versions)
            killer = threading.Timer(delay.uniform(0.3, 1.0), service.process.kill)
            killer.start()
            version = write(url, version, versions)
            killer.join()
        finally:
            service.kill()
    assert len(versions) == POOL
    service = Service(tmp_path)
    try:
        assert_all_there(service.url(), versions)
    finally:
        service.stop()


def survive(folder: Path, rounds: int, writes: int) -> None:
    """Kill a writing and merging process `rounds` times, and until so many writes were acknowledged in all.

    How many a machine manages between two kills is its speed: a slow one is killed more often.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.index_service.crashes"])
    moments, acknowledged = random.Random(1), 0
    possible: list[dict[str, int]] = [{}]
    for round_ in itertools.count():
        if round_ >= rounds and acknowledged > writes:
            return
        ours, theirs = context.Pipe()
        process = context.Process(target=crashes.run, args=(folder, 1_000_000 * round_, theirs))
        process.start()
        theirs.close()
        assert ours.poll(20)
        state = ours.recv()
        assert state in possible
        threading.Timer(moments.uniform(0.0, 0.25), process.kill).start()
        done, possible = follow(ours, state)
        acknowledged += done
        process.join()
        process.close()


def follow(pipe: Connection, state: dict[str, int]) -> tuple[int, list[dict[str, int]]]:
    """How many writes were acknowledged until the process died; what may be there now, without the last or with it."""
    done, pending = 0, state
    while True:
        try:
            message = pipe.recv()
        except EOFError:
            return done, [state, pending]
        if message is None:
            state, done = pending, done + 1
        else:
            pending = crashes.applied(state, message)


def test_writes_and_merges_survive_being_killed(tmp_path: Path) -> None:
    survive(tmp_path, rounds=6, writes=6)


@pytest.mark.slow
def test_writes_and_merges_survive_being_killed_a_hundred_times(tmp_path: Path) -> None:
    survive(tmp_path, rounds=100, writes=500)
