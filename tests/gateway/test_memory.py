"""`python -m gateway` gives the memory of large bodies back, however they end."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.gateway.test_request_buffering import half_sent
from tests.gateway.test_start import wait_for
from tests.waiting import until

MB = 1024 * 1024
SETTINGS = {"MAX_BUFFERED_BYTES": str(64 * MB), "MAX_INCOMPLETE_BODIES": "100"}


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[tuple[str, int]]:
    """Its URL and pid."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    given = {**SETTINGS, "PORT": str(port), "DATA_DIR": str(tmp_path)}
    named = {f"CLIPSERVE_GATEWAY_{name}": value for name, value in given.items()}
    process = subprocess.Popen([sys.executable, "-m", "gateway"], env={**os.environ, **named})
    try:
        wait_for(f"http://127.0.0.1:{port}/healthz")
        yield f"http://127.0.0.1:{port}", process.pid
    finally:
        process.terminate()
        process.wait(30)


def own_mb(pid: int) -> int:
    """Memory of the process that belongs to no file."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) // 1024


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="it reads Linux's account of a process")
def test_bodies_that_end_leave_no_memory_behind(gateway):
    """Some end because others need the room, some with their connections, some are whole and no JSON."""
    url, pid = gateway
    before = own_mb(pid)
    with half_sent(url, 12, b"{" + b" " * 28 * MB, length=f"Content-Length: {30 * MB}"):
        assert own_mb(pid) < before + 160
    with half_sent(url, 4, b" " * 20 * MB, length=f"Content-Length: {20 * MB}") as connections:
        for connection in connections:
            with contextlib.suppress(TimeoutError, ConnectionError):
                connection.recv(100)
    until(lambda: own_mb(pid) < before + 32)
