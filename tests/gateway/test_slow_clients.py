"""Slow, silent, half-sent and senseless clients against `python -m gateway` itself."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator

import httpx
import pytest

from tests.gateway.test_protocol import read
from tests.gateway.test_start import wait_for
from tests.waiting import until

SETTINGS = {
    "READ_TIMEOUT_S": "0.5",
    "BODY_TIMEOUT_S": "1",
    "STALL_TIMEOUT_S": "3",
    "MAX_CLIENT_CONNECTIONS": "64",
    "API_KEYS": "k-secret",
}
NOT_HTTP = [
    b"\x16\x03\x01\x02\x00\x01\x00",
    b"GET\r\n\r\n",
    b"GET / HTTP/9.9\r\n\r\n",
    b"\x00" * 100,
    b"POST / HTTP/1.1\r\n: x\r\n\r\n",
]


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, int]]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    named = {f"CLIPSERVE_GATEWAY_{name}": value for name, value in {**SETTINGS, "PORT": str(port)}.items()}
    log = tmp_path_factory.mktemp("gateway") / "log"
    with log.open("wb") as stderr:
        process = subprocess.Popen([sys.executable, "-m", "gateway"], env={**os.environ, **named}, stderr=stderr)
    wait_for(f"http://127.0.0.1:{port}/healthz")
    yield "127.0.0.1", port
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0
    assert "Traceback" not in log.read_text()
    assert "k-secret" not in log.read_text()


def healthy(address: tuple[str, int]) -> bool:
    try:
        return httpx.get(f"http://{address[0]}:{address[1]}/healthz", timeout=5).status_code == 200
    except httpx.TransportError:
        return False


def envelope(answer: bytes) -> dict:
    return json.loads(answer.partition(b"\r\n\r\n")[2])["error"]


def test_a_client_that_says_nothing(gateway):
    started = time.monotonic()
    with socket.create_connection(gateway, timeout=10) as connection:
        answer = read(connection)
    assert time.monotonic() - started < 8
    assert answer.startswith(b"HTTP/1.1 408 Request Timeout")
    assert envelope(answer)["code"] == "request_timeout"


@pytest.mark.parametrize("drip", [b"X-A: b\r\n", b"\r\n"])
def test_a_header_at_a_time(gateway, drip):
    started = time.monotonic()
    with socket.create_connection(gateway, timeout=10) as connection:
        with contextlib.suppress(ConnectionError):
            connection.sendall(b"GET /healthz HTTP/1.1\r\n" if drip != b"\r\n" else drip)
            while time.monotonic() - started < 3:
                connection.sendall(drip if drip != b"\r\n" else b"\n")
                time.sleep(0.1)
        read(connection)
    assert time.monotonic() - started < 8
    assert healthy(gateway)


def test_many_slow_clients_at_once(gateway):
    """slowloris: more of them than may connect; others are served all the while, and again soon."""
    held = [socket.create_connection(gateway, timeout=10) for _ in range(60)]
    for connection in held:
        connection.sendall(b"POST /v1/embeddings HTTP/1.1\r\nHost: localhost\r\n")
    assert healthy(gateway)
    more = [socket.create_connection(gateway, timeout=10) for _ in range(40)]
    until(lambda: healthy(gateway))
    for connection in held + more:
        connection.close()


@pytest.mark.parametrize("content", NOT_HTTP)
def test_what_is_not_http(gateway, content):
    with socket.create_connection(gateway, timeout=10) as connection:
        connection.sendall(content)
        answer = read(connection)
    assert answer.startswith((b"HTTP/1.1 4", b"HTTP/1.1 408"))
    assert set(envelope(answer)) == {"message", "type", "param", "code"}
    assert healthy(gateway)


def test_an_answer_does_not_wait_for_the_rest_of_a_refused_body(gateway):
    head = b"POST /v1/embeddings HTTP/1.1\r\nHost: localhost\r\nContent-Length: 30000000\r\n\r\n"
    started = time.monotonic()
    with socket.create_connection(gateway, timeout=10) as connection:
        with contextlib.suppress(ConnectionError):
            connection.sendall(head)
            while time.monotonic() - started < 4:
                connection.sendall(b" ")
                time.sleep(0.1)
        answer = read(connection)
    assert answer.startswith(b"HTTP/1.1 401") or answer == b""
    assert time.monotonic() - started < 9


def test_a_client_that_does_not_read(gateway):
    connection = socket.create_connection(gateway, timeout=10)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    with contextlib.suppress(ConnectionError, TimeoutError):
        connection.settimeout(2)
        for _ in range(2000):
            connection.sendall(b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert healthy(gateway)
    connection.close()
