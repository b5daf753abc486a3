"""A Redis of a test's own: Debian's redis-server on a free port, keeping nothing. fakeredis has no Lua scripts."""

from __future__ import annotations

import shutil
import socket
import subprocess
from pathlib import Path

from tests.waiting import until

INSTALLED = shutil.which("redis-server") is not None


class RedisServer:
    """`stop` and `start` again keep the port, and lose what was counted."""

    def __init__(self, folder: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        kept_nowhere = ["--save", "", "--appendonly", "no", "--dir", str(self._folder)]
        command = ["redis-server", "--bind", "127.0.0.1", "--port", str(self.port), *kept_nowhere]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        until(self._listens)

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _listens(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port)) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(16).startswith(b"+PONG")
        except ConnectionError:
            return False
