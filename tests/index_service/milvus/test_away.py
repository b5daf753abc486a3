"""A Milvus that is killed, hangs, is restarted, or was never there: clear errors in bounded time, and nothing lost."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import httpx
import pytest

from benchmarks.lib.busy_client import BusyClient, busy_client
from benchmarks.lib.milvus_server import MilvusServer
from clip_core.wire import encode_vector
from index_service.settings import IndexSettings
from tests.index_service.helpers import JSON, Service, unit_rows
from tests.index_service.milvus.conftest import QUICK, needs_milvus
from tests.waiting import until as soon

pytestmark = [pytest.mark.xdist_group("milvus")]

DIM, N = 8, 400
ROWS = unit_rows(N, DIM)
MODEL = {"model": "m", "fingerprint": "f", "dim": DIM}
PATIENCE_S = 3.0
ITEM = {"items": [{"id": "i0", "vector": encode_vector(ROWS[0])}]}
SEARCH = {"searches": [{"collection": "c", "vector": encode_vector(ROWS[0]), "k": 3}]}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[MilvusServer]:
    """One that a test may end."""
    needs_milvus()
    (tmp_path / "milvus").mkdir()
    server = MilvusServer(tmp_path / "milvus", QUICK)
    yield server
    server.go_on()
    server.kill()


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[[str], httpx.Client]]:
    """Starts an index service over a Milvus."""
    made: list[tuple[Service, httpx.Client]] = []

    def start(uri: str) -> httpx.Client:
        given = {
            "milvus_uri": uri,
            "milvus_timeout_s": PATIENCE_S,
            "milvus_refresh_interval_s": 0.2,
            "milvus_watermark_delay_s": 0,
        }
        service = Service(tmp_path / f"index{len(made)}", **given)
        made.append((service, httpx.Client(base_url=service.url(), headers=JSON, timeout=30)))
        return made[-1][1]

    yield start
    for service, client in made:
        client.close()
        assert service.stop() == 0, service.lines


def timed(call: Callable[[], httpx.Response]) -> tuple[httpx.Response, float]:
    started = time.monotonic()
    return call(), time.monotonic() - started


def until(wanted: int, call: Callable[[], httpx.Response], most_s: float = 60) -> httpx.Response:
    deadline = time.monotonic() + most_s
    while (answer := call()).status_code != wanted:
        assert time.monotonic() < deadline, answer.text
        time.sleep(0.2)
    return answer


def assert_away(answer: httpx.Response) -> None:
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1"), answer.text
    assert "Milvus" in answer.json()["error"]["message"]


def test_without_milvus_the_embedded_store_serves_and_the_other_is_503(serve: Callable[[str], httpx.Client]) -> None:
    client = serve("http://127.0.0.1:9")
    assert client.put("/collections/own", json=MODEL).status_code == 201
    assert client.post("/collections/own/items", json=ITEM).status_code == 200
    (result,) = client.post("/search", json={"searches": [{**SEARCH["searches"][0], "collection": "own"}]}).json()[
        "results"
    ]
    assert result["hits"][0]["id"] == "i0"
    for call in (
        lambda: client.put("/collections/c", json={**MODEL, "store": "milvus"}),
        lambda: client.post("/collections/c/items", json=ITEM),
        lambda: client.post("/search", json=SEARCH),
        lambda: client.get("/collections/c"),
    ):
        answer, seconds = timed(call)
        assert_away(answer)
        assert seconds < PATIENCE_S + 5
    assert [each["name"] for each in client.get("/collections").json()["collections"]] == ["own"]


def test_without_a_server_or_its_client_the_store_is_refused(serve: Callable[[str], httpx.Client]) -> None:
    answer = serve("").put("/collections/c", json={**MODEL, "store": "milvus"})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "store")
    with pytest.raises(ValueError, match="store"):
        IndexSettings(store="elsewhere")


def busy(client: httpx.Client) -> AbstractContextManager[BusyClient]:
    """It meets nothing but success, and 503 and 507 with the envelope."""

    def call(method: str, path: str, body: Any) -> Any:
        answer = client.request(method, path, json=body)
        if answer.status_code != 200:
            assert answer.status_code in (503, 507), answer.text
            raise RuntimeError(f"expected {answer.status_code}")
        result = answer.json()["results"][0]
        assert result["status"] in (200, 503), result
        if result["status"] != 200:
            raise RuntimeError(f"expected {result['status']}")
        return answer.json()

    return busy_client(call, "c", ROWS)


def listed(client: httpx.Client) -> list[str]:
    found: list[str] = []
    after: str | None = ""
    while after is not None:
        page = client.get("/collections/c/items", params={"limit": 1000, "after": after}).json()
        found, after = [*found, *(item["id"] for item in page["items"])], page["next"]
    return found


@pytest.mark.slow
def test_killed_under_load_and_restarted(server: MilvusServer, serve: Callable[[str], httpx.Client]) -> None:
    server.start()
    client = serve(server.uri)
    assert until(201, lambda: client.put("/collections/c", json={**MODEL, "store": "milvus"})).status_code == 201
    with busy(client) as writer:
        for _ in range(2):
            time.sleep(1)
            server.kill()
            answer, seconds = timed(lambda: client.post("/search", json=SEARCH))
            assert "503" in answer.text or answer.status_code == 503
            assert seconds < PATIENCE_S + 1
            server.start()
            until(200, lambda: client.get("/collections/c"))
            before = len(writer.acknowledged)
            soon(lambda before=before: len(writer.acknowledged) >= before + 5, 60)
    assert writer.failures
    assert [failure for failure in writer.failures if "expected" not in failure] == []
    assert set(writer.acknowledged) <= set(listed(client))
    assert len(writer.acknowledged) > 20


@pytest.mark.slow
def test_a_milvus_that_hangs(server: MilvusServer, serve: Callable[[str], httpx.Client]) -> None:
    server.start()
    client = serve(server.uri)
    until(201, lambda: client.put("/collections/c", json={**MODEL, "store": "milvus"}))
    assert client.put("/collections/own", json={**MODEL, "store": "embedded"}).status_code == 201
    client.post("/collections/c/items", json=ITEM)
    with busy(client) as writer:
        time.sleep(1)
        server.hang()
        answer, seconds = timed(lambda: client.get("/collections/c/items/i0"))
        assert_away(answer)
        assert seconds < PATIENCE_S + 1
        answer, seconds = timed(lambda: client.get("/collections/c/items/i0"))
        assert_away(answer)
        assert client.post("/collections/own/items", json=ITEM).status_code == 200
        server.go_on()
        until(200, lambda: client.get("/collections/c/items/i0"), 20)
        before = len(writer.acknowledged)
        soon(lambda: len(writer.acknowledged) >= before + 5, 60)
    assert writer.failures
    assert [failure for failure in writer.failures if "expected" not in failure] == []
    assert set(writer.acknowledged) <= set(listed(client))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 200 MB, where this process may mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=200m", "tmpfs", folder], capture_output=True)
    if mounted.returncode:
        pytest.skip("no file system can be mounted here")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


@pytest.mark.full
def test_a_disk_that_fills_up_and_gets_room_again(small_disk: Path, serve: Callable[[str], httpx.Client]) -> None:
    needs_milvus()
    rows = unit_rows(200, 1024)
    with MilvusServer(small_disk, QUICK) as server:
        client, acknowledged, refused = serve(server.uri), set[str](), None
        until(201, lambda: client.put("/collections/c", json={**MODEL, "dim": 1024, "store": "milvus"}))
        for n in range(600):  # 0.8 MB each
            items = [{"id": f"w{n:04}-{row:03}", "vector": encode_vector(vector)} for row, vector in enumerate(rows)]
            answer, seconds = timed(lambda items=items: client.post("/collections/c/items", json={"items": items}))
            if answer.status_code != 200:
                refused = answer
                assert seconds < PATIENCE_S + 2
                break
            acknowledged |= {each["id"] for each in items}
        assert refused is not None
        assert refused.status_code in (503, 507), refused.text
        server.kill()
        subprocess.run(["mount", "-o", "remount,size=2000m", small_disk], check=True)
        server.start()
        until(200, lambda: client.get("/collections/c"), 120)
        assert acknowledged <= set(listed(client))
        assert until(200, lambda: client.post("/collections/c/items", json={"items": items[:1]})).status_code == 200
