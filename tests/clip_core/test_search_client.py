"""The handlers' client against a real HTTP server: one call a batch, every failure an error of ours."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
import pytest

from clip_core.errors import IndexUnavailable, UnknownCollection
from clip_core.index.search_client import Query, SearchClient
from clip_core.wire import Neighbours, SearchPart, decode_vector

QUERIES = [
    Query(np.array([1, 0], np.float32), SearchPart("a", 3), "r1"),
    Query(np.array([0, 1], np.float32), SearchPart("b")),
]


@contextmanager
def serving(answer: Callable[[Any], tuple[int, Any]]) -> Iterator[tuple[str, list[Any]]]:
    """A server that answers every POST; yields its address and the bodies it saw."""
    seen: list[Any] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            seen.append(body)
            status, reply = answer(body)
            data = reply if isinstance(reply, bytes) else json.dumps(reply).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", seen
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def good(body: Any) -> tuple[int, Any]:
    hits = [{"id": "x", "score": 1.0}]
    missing = {"status": 404, "error": {"message": "no b", "code": "collection_not_found"}}
    return 200, {
        "results": [{"status": 200, "hits": hits} if s["collection"] == "a" else missing for s in body["searches"]]
    }


def test_a_batch_is_one_call_with_an_answer_each() -> None:
    with serving(good) as (url, seen):
        hits, missing = SearchClient(url).search("f00", QUERIES)
    assert hits == Neighbours(b'[{"id": "x", "score": 1.0}]'), "as the service wrote it"
    assert isinstance(missing, UnknownCollection)
    (body,) = seen
    assert body["fingerprint"] == "f00"
    assert [search["request_id"] for search in body["searches"]] == ["r1", None]
    assert decode_vector(body["searches"][1]["vector"]).tolist() == [0, 1]


def test_the_connection_is_kept() -> None:
    with serving(good) as (url, seen):
        client = SearchClient(url)
        client.search("f00", QUERIES)
        socket_ = client._connection._connection.sock
        for _ in range(4):
            client.search("f00", QUERIES)
        assert client._connection._connection.sock is socket_
    assert len(seen) == 5


@pytest.mark.parametrize(
    "reply",
    [
        (500, {"error": {"message": "broken", "code": "internal_error"}}),
        (200, b"no json"),
        (200, {"results": []}),
        (200, []),
        (200, {"results": ["x", "y"]}),
        (200, {"results": [{"status": 200}, {"status": 200}]}),
        (502, b"<html>"),
    ],
)
def test_a_broken_answer_is_an_error_for_every_query(reply: tuple[int, Any]) -> None:
    with serving(lambda _: reply) as (url, _):
        results = SearchClient(url).search("f00", QUERIES)
    assert [getattr(result, "status", 200) >= 500 for result in results] == [True, True]


def test_nobody_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    results = SearchClient(f"http://127.0.0.1:{port}").search("f00", QUERIES)
    assert all(isinstance(result, IndexUnavailable) for result in results)


def test_a_service_that_hangs_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.setblocking(False)
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        results = SearchClient(url, timeout_s=0.5).search("f00", QUERIES)
        silent.accept()[0].close()
        with pytest.raises(BlockingIOError):  # asked once, not twice
            silent.accept()
    assert all(isinstance(result, IndexUnavailable) for result in results)


def test_a_connection_that_the_service_closed_is_opened_again() -> None:
    with serving(good) as (url, seen):
        client = SearchClient(url)
        client.search("f00", QUERIES)
        client._connection._connection.sock.shutdown(socket.SHUT_RDWR)
        hits, _ = client.search("f00", QUERIES)
    assert hits == Neighbours(b'[{"id": "x", "score": 1.0}]')
    assert len(seen) == 2


def many(count: int) -> list[Query]:
    return [Query(np.array([1, 0], np.float32), SearchPart("a"), str(n)) for n in range(count)]


def echoing(body: Any) -> tuple[int, Any]:
    """Each search is answered by its own request id."""
    return 200, {"results": [{"status": 200, "hits": [{"id": s["request_id"], "score": 1}]} for s in body["searches"]]}


def ids(found: list[Any]) -> list[str]:
    return [json.loads(one.hits)[0]["id"] if isinstance(one, Neighbours) else one.code for one in found]


def test_many_searches_are_few_calls_in_order() -> None:
    with serving(echoing) as (url, seen):
        assert ids(SearchClient(url).search("f", many(2500))) == [str(n) for n in range(2500)]
    assert [len(body["searches"]) for body in seen] == [1024, 1024, 452]


def test_large_searches_are_parted_by_their_bytes() -> None:
    large = [Query(np.zeros(2, np.float32), SearchPart("a", filter={"x": "y" * (7 << 20)}), str(n)) for n in range(5)]
    with serving(echoing) as (url, seen):
        assert ids(SearchClient(url).search("f", large)) == ["0", "1", "2", "3", "4"]
    assert [len(body["searches"]) for body in seen] == [2, 2, 1]


@pytest.mark.parametrize("status", [400, 413])
def test_a_search_that_spoils_its_call_spoils_no_other(status: int) -> None:
    def answer(body: Any) -> tuple[int, Any]:
        if any(search["request_id"] == "7" for search in body["searches"]):
            return status, {"error": {"message": "no", "code": "request_too_large"}}
        return echoing(body)

    with serving(answer) as (url, _):
        expected = [str(n) if n != 7 else "request_too_large" for n in range(20)]
        assert ids(SearchClient(url).search("f", many(20))) == expected


def test_a_service_that_takes_fewer_searches_is_given_fewer() -> None:
    def answer(body: Any) -> tuple[int, Any]:
        return echoing(body) if len(body["searches"]) <= 100 else (413, {"error": {"code": "request_too_large"}})

    with serving(answer) as (url, _):
        assert ids(SearchClient(url).search("f", many(1280))) == [str(n) for n in range(1280)]


def test_a_call_that_fails_is_its_own_failure() -> None:
    def answer(body: Any) -> tuple[int, Any]:
        first = body["searches"][0]["request_id"] == "1024"
        return (503, {"error": {"message": "loading", "code": "unavailable"}}) if first else echoing(body)

    with serving(answer) as (url, _):
        found = ids(SearchClient(url).search("f", many(2050)))
    assert found == [str(n) if not 1024 <= n < 2048 else "unavailable" for n in range(2050)]


def test_a_filter_that_is_no_json_fails_alone() -> None:
    bad = Query(np.zeros(2, np.float32), SearchPart("a", filter={"n": 2**70}), "bad")
    with serving(echoing) as (url, _):
        assert ids(SearchClient(url).search("f", [bad, *many(2)])) == ["invalid_filter", "0", "1"]
