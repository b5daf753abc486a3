"""A PostgreSQL of a test's own: Debian's package `postgresql`, on a free port, in a folder that goes with it."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from tests.waiting import until


def _programs() -> Path | None:
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    found = shutil.which("initdb") or (str(debian[-1]) if debian else None)
    return None if found is None else Path(found).resolve().parent


PROGRAMS = _programs()
INSTALLED = PROGRAMS is not None


class PostgresServer:
    """`stop` and `start` again keep the port and what is in it."""

    def __init__(self) -> None:
        assert PROGRAMS is not None
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.url = f"postgresql://postgres@127.0.0.1:{self.port}/postgres"
        self._folder = Path(tempfile.mkdtemp(prefix="postgres"))
        self._as: dict[str, Any] = {}
        if os.geteuid() == 0:  # it refuses to run as root
            self._as = {"user": "postgres", "group": pwd.getpwnam("postgres").pw_gid, "extra_groups": []}
            shutil.chown(self._folder, "postgres")
        self._process: subprocess.Popen[bytes] | None = None
        options = ["--username=postgres", "--auth=trust", "--no-sync", "--encoding=UTF8", "--locale=C.UTF-8"]
        self._run(PROGRAMS / "initdb", *options, f"--pgdata={self._folder / 'data'}")

    def start(self) -> None:
        assert PROGRAMS is not None
        given = {"listen_addresses": "127.0.0.1", "port": self.port, "fsync": "off", "unix_socket_directories": ""}
        options = [word for name, value in given.items() for word in ("-c", f"{name}={value}")]
        command = [PROGRAMS / "postgres", "-D", self._folder / "data", *options]
        self._process = subprocess.Popen(
            command, cwd=self._folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **self._as
        )
        until(lambda: subprocess.call([PROGRAMS / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(self.port)]) == 0)

    def stop(self) -> None:
        """At once, as a crash."""
        if self._process is not None:
            assert PROGRAMS is not None
            self._run(PROGRAMS / "pg_ctl", "stop", "-m", "immediate", "-D", self._folder / "data")
            self._process.wait()
            self._process = None

    def remove(self) -> None:
        self.stop()
        shutil.rmtree(self._folder)

    def _run(self, *command: object) -> None:
        subprocess.run(list(map(str, command)), cwd=self._folder, check=True, capture_output=True, **self._as)
