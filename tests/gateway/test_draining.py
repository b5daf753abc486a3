"""How the gateway's process stops: what is in flight is answered, nothing is cut, and nobody waits for long."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest

from gateway.models.registry import Models, RegisteredModel
from gateway.models.rows import ModelRow
from gateway.readiness import Readiness, verdict_error
from gateway.settings import GatewaySettings
from gateway.upstream.index_service import IndexServiceClient
from scripts.stack.live_stack import free_ports
from tests.gateway.test_start import wait_for
from tests.waiting import until

BODY = b'{"input": "a"}'


@contextmanager
def upstream(released: Event) -> Iterator[str]:
    """A TorchServe that reads a request, and answers it only when `released` is set; gives its address."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(30)

        def serve(connection: socket.socket) -> None:
            with connection:
                connection.recv(65536)
                released.wait(30)
                connection.sendall(b"HTTP/1.1 429 Too Many Requests\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")

        def accept() -> None:
            while True:
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return
                Thread(target=serve, args=(connection,), daemon=True).start()

        Thread(target=accept, daemon=True).start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        released.set()
        listening.shutdown(socket.SHUT_RDWR)


class Gateway:
    def __init__(self, url: str, stop_timeout_s: int, folder: Path) -> None:
        (self.port,) = free_ports(1)
        named = {"PORT": self.port, "TORCHSERVE_URL": url, "STOP_TIMEOUT_S": stop_timeout_s, "DATA_DIR": folder}
        env = {f"CLIPSERVE_GATEWAY_{name}": str(value) for name, value in named.items()}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "gateway"], env={**os.environ, **env}, stderr=subprocess.PIPE, text=True
        )
        wait_for(f"http://127.0.0.1:{self.port}/healthz")

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=30)

    def embed(self) -> socket.socket:
        connection = self.connect()
        head = b"POST /v1/embeddings HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        connection.sendall(head + b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY)
        return connection

    def term(self) -> None:
        self.process.send_signal(signal.SIGTERM)


def asked(connection: HTTPConnection) -> tuple[int, str | None]:
    connection.request("GET", "/healthz")
    with connection.getresponse() as response:
        response.read()
        return response.status, response.getheader("Connection")


def answer(connection: socket.socket) -> tuple[int, str, Any]:
    """Status, headers and JSON; to the end of the connection."""
    with connection:
        data = b"".join(iter(lambda: connection.recv(65536), b""))
    head, _, body = data.partition(b"\r\n\r\n")
    return int(head.split()[1]), head.decode().lower(), json.loads(body)


@pytest.fixture
def gateway(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Gateway, Event]]:
    released = Event()
    with upstream(released) as url:
        gateway = Gateway(url, request.param, tmp_path)
        try:
            yield gateway, released
        finally:
            gateway.process.kill()
            gateway.process.communicate()


def in_flight(gateway: Gateway) -> socket.socket:
    """A request that has reached TorchServe."""
    connection = gateway.embed()
    ask = gateway.connect()
    with ask:
        while True:
            ask.sendall(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
            if b"requests_in_flight 2.0" in ask.recv(1 << 20):
                return connection


@pytest.mark.parametrize("gateway", [20], indirect=True)
def test_what_is_in_flight_and_what_comes_on_kept_connections_is_answered(gateway: tuple[Gateway, Event]) -> None:
    process, released = gateway
    waiting, kept = in_flight(process), HTTPConnection("127.0.0.1", process.port, timeout=30)
    assert asked(kept) == (200, None)
    process.term()
    while (seen := asked(kept)) == (200, None):
        pass
    assert seen == (200, "close")
    released.set()
    status, headers, body = answer(waiting)
    assert (status, body["error"]["code"]) == (429, "overloaded")
    assert "connection: close" in headers
    _, stderr = process.process.communicate(timeout=30)
    assert process.process.returncode == 0
    assert "Traceback" not in stderr


@pytest.mark.parametrize("gateway", [1], indirect=True)
def test_what_takes_too_long_gets_the_envelope(gateway: tuple[Gateway, Event]) -> None:
    process, _ = gateway
    waiting = in_flight(process)
    process.term()
    status, headers, body = answer(waiting)
    assert (status, body["error"]["code"]) == (503, "shutting_down")
    assert "retry-after: " in headers
    assert process.process.wait(30) == 0


@pytest.mark.parametrize("gateway", [3600], indirect=True)
def test_a_second_signal_ends_the_drain(gateway: tuple[Gateway, Event]) -> None:
    process, _ = gateway
    waiting = in_flight(process)
    process.term()
    until(lambda: not listens(process))
    process.term()
    process.process.wait(30)
    status, _, body = answer(waiting)
    assert (status, body["error"]["code"]) == (503, "shutting_down")


def listens(gateway: Gateway) -> bool:
    try:
        gateway.connect().close()
    except OSError:
        return False
    return True


async def test_readiness_drops_when_the_drain_begins() -> None:
    readiness = Readiness(GatewaySettings(), Models([], none_served), IndexServiceClient("http://x"))
    readiness.drop()
    parts, _ = await readiness.report()
    assert parts == {"gateway": "is stopping"}
    assert verdict_error(parts) is not None


def none_served(_: ModelRow) -> RegisteredModel:
    raise AssertionError("there is no row")
