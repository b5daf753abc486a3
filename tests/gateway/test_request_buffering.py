"""Bodies that come slowly or in great number, over real connections: their neighbours are served meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from gateway.keys.api_key import ANONYMOUS, ApiKey, KeyLimits
from gateway.keys.quotas import Quotas
from gateway.middleware.metering import MeterMiddleware
from tests.gateway.test_deadlines import connect, rest
from tests.waiting import until

MB = 1024 * 1024
HEAD = "POST /v1/{path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n{length}\r\n\r\n"


@contextlib.contextmanager
def half_sent(
    url: str, number: int, content: bytes, path: str = "search", length: str = "Content-Length: 33000000"
) -> Iterator[list[socket.socket]]:
    """So many connections on which the rest of a body is still to come."""
    with contextlib.ExitStack() as opened:
        connections = [opened.enter_context(connect(url)) for _ in range(number)]
        for connection in connections:
            with contextlib.suppress(ConnectionError):  # the gateway may have ended it
                connection.sendall(HEAD.format(path=path, length=length).encode() + content)
        yield connections


def what_came(connection: socket.socket) -> bytes:
    """Until the peer closed; nothing while it has not answered."""
    connection.settimeout(0.01)
    with contextlib.suppress(TimeoutError):
        return rest(connection)
    return b""


def search(stack: Any) -> int:
    return stack.post("/v1/search", {"collection": "demo", "text": "cat"}).status_code


@pytest.mark.parametrize("length", ["Content-Length: 5000", "Content-Length: 33000000", "Transfer-Encoding: chunked"])
def test_half_sent_bodies_take_no_place_from_whole_ones(stack_of, length):
    stack = stack_of(max_in_flight=4)
    stack.fill("cat")
    with half_sent(stack.url, 40, b"1\r\n{\r\n", length=length):
        assert [search(stack) for _ in range(5)] == [200] * 5
        large = {"input": ["a" * 100_000] * 3}
        assert stack.post("/v1/embeddings", large).status_code == 200


@pytest.mark.parametrize("path", ["search", "collections/demo/items/stream"])
def test_nearly_whole_bodies_make_room(stack_of, path):
    """Those that end are told so; a large newcomer of the same address is served."""
    stack = stack_of(
        max_buffered_bytes=8 * MB, max_body_bytes=4 * MB, max_image_bytes=4 * MB, max_incomplete_bodies=100
    )
    stack.fill("cat")
    content = b'{"input": "' + b"a" * (MB // 2)
    with half_sent(stack.url, 20, content, path, "Content-Length: 4000000") as connections:
        assert search(stack) == 200
        assert stack.post("/v1/embeddings", {"input": ["a" * MB] * 2}).status_code == 200
        (answer, *_) = filter(None, map(what_came, connections))
    assert answer.startswith(b"HTTP/1.1 429")
    assert b"connection: close" in answer.lower()
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["code"] == "overloaded"


def new_one_ends(url: str, connection: socket.socket) -> bool:
    with half_sent(url, 1, b"{"):
        return what_came(connection).startswith(b"HTTP/1.1 408")


def test_the_slowest_of_too_many_half_sent_bodies_ends(stack_of):
    stack = stack_of(max_incomplete_bodies=5)
    stack.fill("cat")
    with half_sent(stack.url, 1, b"{") as first, half_sent(stack.url, 5, b"{" + b" " * 1000):
        until(lambda: new_one_ends(stack.url, first[0]))
        assert search(stack) == 200


def test_half_sent_bodies_take_nothing_from_the_keys_own_limits(stack_of):
    stack = stack_of(key_concurrency=1)
    stack.fill("cat")
    with half_sent(stack.url, 5, b"{"):
        assert search(stack) == 200


def test_a_stream_holds_a_batch_of_bytes(stack_of):
    """Sixteen lines of a megabyte pass a budget of eight."""
    stack = stack_of(max_buffered_bytes=8 * MB, max_body_bytes=4 * MB, max_image_bytes=MB)
    stack.fill("cat")
    lines = (json.dumps({"id": f"{n}", "text": "a"}).encode() + b" " * MB + b"\n" for n in range(16))
    answer = stack.client.post("/v1/collections/demo/items/stream", content=lines, timeout=60)
    assert (answer.status_code, answer.json()["added"]) == (200, 16)


class SlowQuotas(Quotas):
    """As with a Redis that takes its time."""

    async def spend(self, key: ApiKey, what: Any, amount: float) -> None:
        await asyncio.sleep(0.01)
        await super().spend(key, what, amount)


async def test_no_two_requests_take_a_keys_last_place():
    busiest = 0

    async def app(*_: Any) -> None:
        nonlocal busiest
        busiest = max(busiest, middleware.under_way[ANONYMOUS.id])
        await asyncio.sleep(0)

    middleware = MeterMiddleware(app, SlowQuotas(KeyLimits(concurrency=2)), frozenset())
    scope = {"type": "http", "path": "/v1/search"}
    calls = (middleware(scope, None, None) for _ in range(20))  # type: ignore[arg-type]
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert sum(outcome is None for outcome in outcomes) == busiest == 2
    assert not middleware.under_way


async def test_a_request_that_ends_while_it_is_charged_frees_its_place():
    middleware = MeterMiddleware(None, SlowQuotas(KeyLimits(concurrency=1)), frozenset())  # type: ignore[arg-type]
    task = asyncio.create_task(middleware({"type": "http", "path": "/v1/search"}, None, None))  # type: ignore[arg-type]
    await asyncio.sleep(0)
    assert middleware.under_way
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert not middleware.under_way


def test_bodies_are_let_go(stack_of):
    stack = stack_of(max_buffered_bytes=8 * MB, max_body_bytes=4 * MB)
    stack.fill("cat")
    with half_sent(stack.url, 10, b"{" + b" " * MB):
        until(lambda: search(stack) == 200)
    for _ in range(5):
        assert stack.post("/v1/embeddings", {"input": ["a" * MB] * 3}).status_code == 200
