"""HTTP/1.1 over kept connections, against a server that says exactly what a test tells it to."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import pytest
import uvloop

from clip_core.errors import IndexUnavailable
from gateway.upstream.json_client import JsonClient
from gateway.upstream.keepalive import Broken, ConnectFailed, KeepAlivePool

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
HEADERS = {"X-Request-Id": "r1"}


class Peer:
    """Answers each request with the next of `answers`; b"" closes the connection, None says nothing at all."""

    def __init__(self, *answers: bytes | None) -> None:
        self.answers, self.requests, self.connections = list(answers), list[bytes](), 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = next(
                    (int(x.split(b":")[1]) for x in head.split(b"\r\n") if x.startswith(b"Content-Length")), 0
                )
                self.requests.append(head + await reader.readexactly(length))
                answer = self.answers.pop(0)
                if answer is None:
                    continue
                writer.write(answer)
                if not answer or b"close" in answer:
                    return
        except asyncio.IncompleteReadError:
            pass
        finally:
            writer.close()


def told(peer: Peer, work: Callable[[KeepAlivePool], Awaitable[Any]], most: int = 4) -> Any:
    async def run() -> Any:
        server = await asyncio.start_server(peer.serve, "127.0.0.1", 0)
        async with server:
            pool = KeepAlivePool(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/below", most)
            try:
                return await asyncio.wait_for(work(pool), 20)
            finally:
                pool.close()

    return asyncio.run(run())


async def ask(pool: KeepAlivePool, body: bytes = b"{}", timeout_s: float = 10.0) -> tuple[int, bytes]:
    return await pool.request("POST", "/p?q=1", HEADERS, body, timeout_s)


def test_requests_share_a_connection() -> None:
    peer = Peer(OK, OK)

    async def work(pool: KeepAlivePool) -> list[Any]:
        return [await ask(pool), await pool.request("GET", "/g", {}, b"", 10.0)]

    assert told(peer, work) == [(200, b"hi")] * 2
    assert peer.connections == 1
    assert peer.requests[0].startswith(b"POST /below/p?q=1 HTTP/1.1\r\nHost: 127.0.0.1:")
    assert b"X-Request-Id: r1\r\n" in peer.requests[0]
    assert peer.requests[0].endswith(b"\r\n\r\n{}")
    assert b"Content-Length" not in peer.requests[1]


async def test_a_second_try_is_made_over_a_new_connection() -> None:
    """Where a peer ends, all kept connections close as they are used."""
    peer = Peer(OK, OK, b"", OK)
    server = await asyncio.start_server(peer.serve, "127.0.0.1", 0)
    async with server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        client = JsonClient("the peer", url, IndexUnavailable)
        await asyncio.gather(client.call("GET", "/a"), client.call("GET", "/b"))
        assert (await client.call("GET", "/c", idempotent=True)).status == 200
        await client.close()
    assert peer.connections == 3


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", (200, b"hi")),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + OK, (200, b"hi")),
        (b"HTTP/1.1 204 No Content\r\n\r\n", (204, b"")),
        (b"HTTP/1.1 503 Busy\r\nContent-Length: 1\r\nConnection: close\r\n\r\nx", (503, b"x")),
    ],
)
def test_forms_of_answers(answer: bytes, expected: tuple[int, bytes]) -> None:
    async def work(pool: KeepAlivePool) -> list[Any]:
        return [await ask(pool), await ask(pool)]

    peer = Peer(answer, OK)
    assert told(peer, work) == [expected, (200, b"hi")]
    assert peer.connections == (2 if b"close" in answer else 1)


@pytest.mark.parametrize(
    "answer", [b"", b"no HTTP\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhi"]
)
def test_an_answer_that_is_not_whole(answer: bytes) -> None:
    async def work(pool: KeepAlivePool) -> Any:
        with pytest.raises(Broken):
            await ask(pool)
        return await ask(pool)

    peer = Peer(answer, OK)
    assert told(peer, work) == (200, b"hi")
    assert peer.connections == 2


def test_a_late_answer_reaches_nobody() -> None:
    """Neither after the time is over, nor after the caller has gone: its connection is not used again."""
    peer = Peer(None, None, OK)

    async def work(pool: KeepAlivePool) -> Any:
        with pytest.raises(asyncio.TimeoutError):
            await ask(pool, timeout_s=0.1)
        gone = asyncio.create_task(ask(pool))
        await asyncio.sleep(0.1)
        gone.cancel()
        with pytest.raises(asyncio.CancelledError):
            await gone
        return await ask(pool)

    assert told(peer, work) == (200, b"hi")
    assert peer.connections == 3


def test_words_without_a_question_end_the_connection() -> None:
    async def work(pool: KeepAlivePool) -> Any:
        await ask(pool)
        await asyncio.sleep(0.1)
        return await ask(pool)

    peer = Peer(OK + OK, b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nright")
    assert told(peer, work) == (200, b"right")
    assert peer.connections == 2


def test_no_more_connections_than_allowed_and_waiting_counts_as_time() -> None:
    peer = Peer(None, OK)

    async def work(pool: KeepAlivePool) -> Any:
        first = asyncio.create_task(ask(pool, timeout_s=0.4))
        await asyncio.sleep(0.1)
        with pytest.raises(asyncio.TimeoutError):
            await ask(pool, timeout_s=0.1)
        assert peer.connections == 1
        with pytest.raises(asyncio.TimeoutError):
            await first
        return await ask(pool)

    assert told(peer, work, most=1) == (200, b"hi")


def test_what_lies_idle_holds_nothing_and_ends_by_itself() -> None:
    async def work(pool: KeepAlivePool) -> Any:
        await asyncio.gather(ask(pool), ask(pool))
        connections = list(pool._idle)
        assert not any(connection._pieces for connection in connections)
        pool._idle_s = 0.0
        pool._close_old()  # which the timer would call
        return [connection.open for connection in connections], pool._closing

    assert told(Peer(OK, OK), work) == ([False, False], None)


def test_idle_connections_end_without_another_request() -> None:
    async def work(_: KeepAlivePool) -> Any:
        ended = asyncio.Event()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n{}")
            writer.write(OK)
            await reader.read()
            ended.set()
            writer.close()

        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
            address = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            await ask(KeepAlivePool(address, 1, idle_s=0.02))
            await ended.wait()

    told(Peer(), work)


LOOPS = [asyncio.new_event_loop, uvloop.new_event_loop]


async def resetting(work: Callable[[str], Awaitable[Any]]) -> Any:
    """`work` with the address of a peer that accepts connections and resets them."""

    async def reset(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()

    async with await asyncio.start_server(reset, "127.0.0.1", 0) as server:
        return await work(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")


def run_on(new_loop: Callable[[], asyncio.AbstractEventLoop], work: Coroutine[Any, Any, Any]) -> Any:
    loop = new_loop()
    try:
        return loop.run_until_complete(asyncio.wait_for(work, 20))
    finally:
        loop.close()


@pytest.mark.parametrize("new_loop", LOOPS)
def test_a_connection_that_ended_before_it_was_asked(new_loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    async def work(address: str) -> None:
        connection = await KeepAlivePool(address, 1)._connect()
        while connection.open:
            await asyncio.sleep(0.001)
        with pytest.raises(Broken, match="closed: ConnectionResetError"):
            await connection.ask(b"GET / HTTP/1.1\r\n\r\n", b"", 60.0)

    run_on(new_loop, resetting(work))


@pytest.mark.parametrize("new_loop", LOOPS)
def test_a_peer_that_accepts_and_resets(new_loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    """Wherever the reset meets a request, it is no failure of ours and no wait for the time limit."""

    async def work(address: str) -> None:
        pool = KeepAlivePool(address, 8)
        answers = await asyncio.gather(*(ask(pool, timeout_s=60.0) for _ in range(100)), return_exceptions=True)
        assert {type(answer) for answer in answers} <= {Broken, ConnectFailed}

    run_on(new_loop, resetting(work))


def test_an_address_with_a_user() -> None:
    pool = KeepAlivePool("http://me:s%40fe@127.0.0.1:1", 1)
    assert b"Authorization: Basic bWU6c0BmZQ==\r\n" in pool._head("GET", "/", {}, 0)
    assert b"Host: 127.0.0.1:1\r\n" in pool._head("GET", "/", {}, 0)


def test_nobody_listens() -> None:
    async def work() -> None:
        await KeepAlivePool("http://127.0.0.1:1", 1).request("GET", "/", {}, b"", 5.0)

    with pytest.raises(ConnectFailed):
        asyncio.run(work())


def test_a_header_can_not_end_its_line() -> None:
    async def work(pool: KeepAlivePool) -> Any:
        with pytest.raises(ValueError, match="line break"):
            await pool.request("GET", "/", {"X": "a\r\nHost: evil"}, b"", 5.0)

    told(Peer(), work)
