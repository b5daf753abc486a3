"""A whole `clipserve up` as a child process, for tests and benchmarks: start, wait until ready, stop, look inside."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from scripts.stack.up_settings import UpSettings

PORTS = tuple(name for name in UpSettings.model_fields if name.endswith("_port"))
READY_LINE = "Ctrl-C stops everything"
_FREE_PORTS = range(10_000, 32_000)  # not from 32768 on: Linux could give one to a connection before its service starts


@dataclass
class LiveStack:
    """A running stack: its ports by setting name, its folders, and the process of `clipserve up`."""

    process: subprocess.Popen[bytes]
    ports: dict[str, int]
    data_dir: Path
    log_dir: Path
    output: Path
    family: list[psutil.Process] = field(default_factory=list)

    @property
    def gateway(self) -> str:
        return f"http://127.0.0.1:{self.ports['gateway_port']}"

    @property
    def inference(self) -> str:
        return f"http://127.0.0.1:{self.ports['inference_port']}"

    @property
    def index(self) -> str:
        return f"http://127.0.0.1:{self.ports['index_port']}"

    def text(self) -> str:
        """What `clipserve up` has printed so far."""
        return self.output.read_text(encoding="utf-8", errors="replace")

    def wait_ready(self, timeout_s: float = 280.0) -> None:
        """Raises RuntimeError with the output when the stack stops or takes too long."""
        deadline = time.monotonic() + timeout_s
        while READY_LINE not in self.text():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the stack did not start:\n{self.text()}")
            time.sleep(0.1)
        self.family = self.children()

    def children(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)

    def find(self, fragment: str) -> list[psutil.Process]:
        """Its processes with `fragment` on their command line."""
        return [child for child in self.children() if fragment in command_line(child)]

    def stop(self, number: int = signal.SIGTERM) -> float:
        """Ask it to stop and wait; returns the seconds it took."""
        started = time.monotonic()
        if self.process.poll() is None:
            self.process.send_signal(number)
        self.process.wait(timeout=60)
        return time.monotonic() - started


def command_line(process: psutil.Process) -> str:
    """Nothing, of one that has ended."""
    with suppress(psutil.NoSuchProcess):
        return " ".join(process.cmdline())
    return ""


def free_ports(count: int) -> list[int]:
    """Ports that nothing listens on, all different. Raises OSError."""
    found: list[int] = []
    for port in random.SystemRandom().sample(_FREE_PORTS, len(_FREE_PORTS)):
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            found.append(port)
        if len(found) == count:
            return found
    raise OSError(f"there are no {count} free ports from {_FREE_PORTS.start} to {_FREE_PORTS.stop}")


def default_ports() -> dict[str, int]:
    return {name: int(UpSettings.model_fields[name].default) for name in PORTS}


@contextmanager
def live_stack(
    directory: Path,
    *options: str,
    ports: dict[str, int] | None = None,
    env: Mapping[str, str] | None = None,
    checkout: Path | None = None,
) -> Iterator[LiveStack]:
    """`clipserve up` with its data and logs below `directory`; not yet ready. Stopped at the end whatever happens.

    `checkout`: of the project, with a `.venv` of its own, instead of this one.
    """
    directory.mkdir(parents=True, exist_ok=True)
    ports = ports or dict(zip(PORTS, free_ports(len(PORTS)), strict=True))
    told = {f"CLIPSERVE_{name.upper()}": str(port) for name, port in ports.items()}  # an older one may not know each
    folders = ["--data-dir", str(directory / "data"), "--log-dir", str(directory / "logs")]
    programs = Path(sys.executable).parent if checkout is None else checkout / ".venv" / "bin"
    command = [str(programs / "clipserve"), "up", *folders, *options]
    output = directory / "up.txt"
    with output.open("wb") as file:
        environment = {**os.environ, "COLUMNS": "120", **told, **(env or {})}
        process = subprocess.Popen(
            command, stdout=file, stderr=subprocess.STDOUT, env=environment, cwd=checkout, start_new_session=True
        )
    stack = LiveStack(process, ports, directory / "data", directory / "logs", output)
    try:
        yield stack
    finally:
        try:
            stack.stop()
        except subprocess.TimeoutExpired:
            process.kill()  # its parts end with it
            process.wait()
            raise
