"""Neighbours that are down, full, slow or broken; and readiness, which says which one."""

from __future__ import annotations

import asyncio
import socket
import threading
from typing import Any

import pytest

from clip_core.errors import IndexUnavailable, TorchServeUnavailable
from gateway.upstream.index_service import IndexServiceClient
from gateway.upstream.json_client import JsonClient
from gateway.upstream.keepalive import Broken
from gateway.upstream.torchserve import TorchServeClient
from tests.gateway.fakes import picture_uri

NOBODY = "http://127.0.0.1:9"  # the discard port: nothing listens there


@pytest.mark.parametrize(
    ("failure", "workers", "status", "code"),
    [
        ("queue_full", "READY", 429, "overloaded"),
        ("queue_full", "LOADING", 503, "torchserve_unavailable"),
        ("batch_failed", "READY", 424, "inference_failed"),
        ("worker_died", "READY", 503, "worker_lost"),
        ("worker_507", "READY", 503, "worker_lost"),
        ("unregistered", "READY", 503, "torchserve_unavailable"),
        ("too_large", "READY", 413, "request_too_large"),
        ("nonsense", "READY", 424, "inference_failed"),
    ],
)
def test_torchserves_own_failures(stack, failure, workers, status, code):
    stack.torchserve.failure, stack.torchserve.workers = failure, workers
    answer = stack.post("/v1/embeddings", {"input": "a"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    assert answer.headers.get("retry-after") == ("1" if status in (429, 503) else None)


def test_torchserve_down(stack_of):
    stack = stack_of(torchserve_url=NOBODY, management_url=NOBODY)
    for path, body in [
        ("/v1/embeddings", {"input": ["a"] * 100}),
        ("/v1/search", {"collection": "demo", "text": "a"}),
        ("/v1/classify", {"image": picture_uri("a"), "labels": ["a"]}),
    ]:
        answer = stack.post(path, body)
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "torchserve_unavailable")
        assert "TorchServe" in answer.json()["error"]["message"]
    assert stack.client.put("/v1/collections/demo", json={}).status_code == 503
    assert stack.client.get("/healthz").status_code == 200


def test_a_batch_with_torchserve_down_still_searches_vectors(stack_of):
    stack_of().fill("cat")
    stack = stack_of(torchserve_url=NOBODY)
    searches = [{"collection": "demo", "text": "a"}, {"collection": "demo", "vector": [1.0] * 16}]
    results = stack.post("/v1/search/batch", {"searches": searches}).json()["results"]
    assert [result["status"] for result in results] == [503, 200]


def test_index_down(stack_of):
    stack = stack_of(index_url=NOBODY)
    stack.index.down = True
    assert stack.post("/v1/embeddings", {"input": "a"}).status_code == 200
    for body in ({"text": "a"}, {"vector": [1.0] * 16}):
        answer = stack.post("/v1/search", {"collection": "demo", **body})
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "index_unavailable")
    listed = stack.client.get("/v1/collections")
    assert listed.status_code == 503
    assert "index" in listed.json()["error"]["message"]


def test_slow_torchserve_times_out(stack_of):
    stack = stack_of(timeout_s=0.1)
    stack.torchserve.delay_s = 0.5
    answer = stack.post("/v1/embeddings", {"input": "a"})
    assert answer.status_code == 503
    assert "within 0.1 s" in answer.json()["error"]["message"]


def test_ready(stack):
    body = stack.client.get("/readyz").json()
    assert body["parts"] == {"clip_text": "ok", "clip_image": "ok", "clip_multimodal": "ok", "index": "ok"}


def test_not_ready_names_the_part(stack):
    stack.torchserve.failure, stack.torchserve.failing_endpoint = "batch_failed", "clip_image"
    answer = stack.client.get("/readyz")
    assert answer.status_code == 503
    assert answer.json()["error"]["code"] == "unavailable"
    assert "clip_image" in answer.json()["error"]["message"]
    assert "clip_text" not in answer.json()["error"]["message"]


def test_not_ready_without_the_index(stack_of):
    stack = stack_of(index_url=NOBODY)
    assert "index" in stack.client.get("/readyz").json()["error"]["message"]


def test_checks_are_patient_until_all_parts_were_ready_once(stack_of):
    stack = stack_of(ready_timeout_s=0.1)
    stack.torchserve.delay_s = 0.5
    assert stack.client.get("/readyz").status_code == 200
    stack.torchserve.delay_s = 3.0
    parts = stack.client.get("/readyz").json()["parts"]
    assert "within 0.1 s" in parts["clip_text"]


class Flaky(threading.Thread):
    """Closes the first connections without an answer, then answers `body`: a stale keep-alive connection."""

    def __init__(self, closes: int, body: bytes) -> None:
        super().__init__(daemon=True)
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listening.getsockname()[1]}"
        self.closes, self.body, self.seen = closes, body, 0
        self.start()

    def run(self) -> None:
        while True:
            try:
                connection, _ = self.listening.accept()
            except OSError:
                return
            with connection:
                connection.recv(65536)
                self.seen += 1
                if self.seen > self.closes:
                    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n"
                    connection.sendall(head % len(self.body) + self.body)

    def stop(self) -> None:
        self.listening.shutdown(socket.SHUT_RDWR)
        self.listening.close()
        self.join(5)


@pytest.fixture
def flaky():
    made: list[Flaky] = []

    def start(closes: int, body: bytes) -> Flaky:
        made.append(Flaky(closes, body))
        return made[-1]

    yield start
    for server in made:
        server.stop()


async def test_a_stale_connection_is_tried_once_more(flaky):
    server = flaky(1, b'{"data": []}')
    client = TorchServeClient(server.url, server.url)
    assert (await client.predict("clip_text", {"input": []}))["data"] == []
    assert server.seen == 2
    await client.close()


async def test_what_is_only_read_is_tried_once_more(flaky):
    server = flaky(1, b'{"collections": []}')
    client = IndexServiceClient(server.url)
    assert await client.collections() == {"collections": []}
    assert server.seen == 2
    await client.close()


async def test_the_second_try_has_what_is_left_of_the_time(monkeypatch):
    """A peer that holds a request for a while and then ends the connection, twice."""
    client = JsonClient("the peer", NOBODY, IndexUnavailable, timeout_s=5.0)
    limits, over_new = list[float](), list[bool]()

    async def request(*_: Any, fresh: bool) -> Any:
        limits.append(_[-1])
        over_new.append(fresh)
        await asyncio.sleep(0.1)
        raise Broken("the connection was closed")

    monkeypatch.setattr(client._pool, "request", request)
    with pytest.raises(IndexUnavailable):
        await client.call("POST", "/search", {}, idempotent=True)
    assert limits[0] == 5.0
    assert limits[1] <= 4.91
    assert over_new == [False, True]


async def test_the_log_names_the_cause_and_no_password(flaky, caplog):
    url = flaky(9, b"").url.replace("http://", "http://me:secret@")
    with pytest.raises(IndexUnavailable):
        await IndexServiceClient(url).upsert("demo", None, [])
    (record,) = [record for record in caplog.records if record.name == "gateway.upstream.json_client"]
    assert "Broken" in record.cause
    assert record.url == url.replace("me:secret@", "")


async def test_but_not_twice(flaky):
    server = flaky(9, b"")
    client = TorchServeClient(server.url, server.url)
    with pytest.raises(TorchServeUnavailable):
        await client.predict("clip_text", {"input": []})
    assert server.seen == 2
    await client.close()


async def test_and_never_for_an_upsert(flaky):
    server = flaky(9, b"")
    client = IndexServiceClient(server.url)
    with pytest.raises(IndexUnavailable):
        await client.upsert("demo", None, [])
    assert server.seen == 1
    await client.close()


async def test_management_that_cannot_tell(flaky):
    for url in (NOBODY, flaky(0, b"not json").url):
        client = TorchServeClient(url, url)
        assert await client.workers_ready("clip_text") is None
        await client.close()
