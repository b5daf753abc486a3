"""One connection, kept: what goes over the wire, seen by a plain socket."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from contextlib import closing
from http.client import HTTPException

import pytest

from clip_core.index.keepalive_connection import KeepaliveConnection

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def serving(serve: Callable[[socket.socket], None]) -> str:
    """The URL of a server whose connections `serve` handles, one after the other."""
    listener = socket.create_server(("127.0.0.1", 0))

    def accept() -> None:
        with closing(listener):
            for _ in range(3):
                with listener.accept()[0] as connection:
                    serve(connection)

    threading.Thread(target=accept, daemon=True).start()
    return f"http://127.0.0.1:{listener.getsockname()[1]}"


def recording(packets: list[bytes]) -> str:
    """The URL of a server that keeps what it receives, packet by packet, and answers each."""

    def serve(connection: socket.socket) -> None:
        while data := connection.recv(1 << 20):
            packets.append(data)
            connection.sendall(ANSWER)

    return serving(serve)


def test_headers_and_body_come_together() -> None:
    packets: list[bytes] = []
    connection = KeepaliveConnection(recording(packets), 5)
    for _ in range(3):
        assert connection.call("POST", "/search", b"x" * 1000) == (200, b"ok")
    assert len(packets) == 3
    assert all(packet.startswith(b"POST /search") and packet.endswith(b"\r\n\r\n" + b"x" * 1000) for packet in packets)


def test_a_call_that_could_not_be_made_leaves_nothing_behind() -> None:
    packets: list[bytes] = []
    connection = KeepaliveConnection(recording(packets), 5)
    assert connection.call("GET", "/one")[0] == 200
    with pytest.raises(HTTPException, match="control characters"):
        connection.call("GET", "/t\nwo")
    assert connection.call("GET", "/three")[0] == 200
    assert [packet.split()[1] for packet in packets] == [b"/one", b"/three"]


def test_a_connection_closed_between_calls_is_opened_again() -> None:
    def serve(connection: socket.socket) -> None:
        connection.recv(1 << 20)
        connection.sendall(ANSWER)

    connection = KeepaliveConnection(serving(serve), 5)
    assert [connection.call("POST", "/", b"{}") for _ in range(2)] == [(200, b"ok")] * 2
