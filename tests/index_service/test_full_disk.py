"""The real process on a disk that takes no more: writes are refused and change nothing, everything else goes on."""

from __future__ import annotations

import resource
from pathlib import Path
from typing import Any

import httpx

from clip_core.wire import encode_vector
from tests.index_service.helpers import Service, unit_rows

VECTORS = unit_rows(400, 64)


def upsert(client: httpx.Client, start: int) -> httpx.Response:
    items = [{"id": f"i{n}", "vector": encode_vector(VECTORS[n])} for n in range(start, start + 100)]
    return client.post("/collections/c/items", json={"fingerprint": "f", "items": items})


def search(client: httpx.Client, n: int) -> dict[str, Any]:
    one = {"collection": "c", "vector": encode_vector(VECTORS[n]), "k": 1}
    found: dict[str, Any] = client.post("/search", json={"searches": [one]}).json()["results"][0]["hits"][0]
    return found


def limit_files(service: Service, size: int) -> None:
    """No file of the process may grow beyond `size` bytes, as on a disk that is full or over quota."""
    resource.prlimit(service.process.pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


def test_writes_are_refused_with_507_and_reads_go_on(tmp_path: Path) -> None:
    service = Service(tmp_path, merge_min_rows=150)
    try:
        with httpx.Client(base_url=service.url()) as client:
            client.put("/collections/c", json={"model": "m", "fingerprint": "f", "dim": 64})
            assert upsert(client, 0).status_code == 200
            limit_files(service, 1024)
            for call in (upsert(client, 100), client.post("/collections/c/snapshots")):
                assert (call.status_code, call.json()["error"]["code"]) == (507, "storage_full")
            assert client.post("/collections/c/items/delete", json={"ids": ["i1"]}).status_code == 507
            assert search(client, 1)["id"] == "i1"
            assert client.get("/collections/c/items/i99").status_code == 200
            assert client.get("/collections/c/items/i100").status_code == 404
            assert client.get("/collections/c").json()["count"] == 100
            limit_files(service, resource.RLIM_INFINITY)
            assert upsert(client, 100).status_code == 200
            assert upsert(client, 200).status_code == 200
            assert search(client, 250)["id"] == "i250"
        assert service.stop() == 0
        with httpx.Client(base_url=(service := Service(tmp_path)).url()) as client:
            assert client.get("/collections/c").json()["count"] == 300
    finally:
        service.kill()
