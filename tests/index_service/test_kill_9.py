"""Whatever was acknowledged is there after `kill -9`, at any moment, merges included."""

from __future__ import annotations

import random
import threading
from pathlib import Path
from typing import Any

import httpx

from clip_core.wire import encode_vector
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
        service = Service(tmp_path, compact_rows=50)
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
