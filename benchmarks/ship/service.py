"""haproxy in the place of Kubernetes' Services: TCP connections to ready pods, and none moved once it is made.

It tries no connection twice and looks at no request, as kube-proxy does neither. A pod that is taken out gets no new
connections and keeps those that it has.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from benchmarks.ship.missing import NotHereError

SLOTS = 2
_HEAD = """
global
  stats socket {admin} mode 600 level admin
defaults
  mode tcp
  retries 0
  timeout connect 5s
  timeout client 1h
  timeout server 1h
"""
_SERVICE = """
listen {name}
  bind 127.0.0.1:{port}
  balance roundrobin
"""


class NoProxyError(NotHereError):
    """haproxy is not installed."""


class ClusterServices:
    """Services by name; each has places for pods."""

    def __init__(self, admin: Path) -> None:
        self._admin = admin

    def put(self, service: str, slot: int, port: int) -> None:
        """New connections go to this pod from now on, and to no other that had the place."""
        self._say(f"set server {service}/pod{slot} addr 127.0.0.1 port {port}")
        self._say(f"set server {service}/pod{slot} state ready")

    def _say(self, line: str) -> None:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(self._admin))
            connection.sendall(f"{line}\n".encode())
            connection.shutdown(socket.SHUT_WR)
            answer = connection.makefile().read().strip()
        if answer and "changed" not in answer and "no need" not in answer:
            raise RuntimeError(f"haproxy: {line}: {answer}")


@contextmanager
def cluster_services(folder: Path, ports: Mapping[str, int]) -> Iterator[ClusterServices]:
    """`ports`: name → where the service listens. Raises NoProxyError."""
    program = shutil.which("haproxy", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")
    if program is None:
        raise NoProxyError("haproxy is not installed: apt-get install haproxy")
    admin, config = folder / "haproxy.sock", folder / "haproxy.cfg"
    pods = "".join(f"  server pod{slot} 127.0.0.1:1 disabled\n" for slot in range(SLOTS))
    services = "".join(_SERVICE.format(name=name, port=port) + pods for name, port in ports.items())
    config.write_text(_HEAD.format(admin=admin) + services, encoding="utf-8")
    with (folder / "haproxy.log").open("wb") as log:
        process = subprocess.Popen([program, "-db", "-f", str(config)], stdout=log, stderr=log)
    try:
        _wait(admin, process)
        yield ClusterServices(admin)
    finally:
        process.terminate()
        process.wait()


def _wait(admin: Path, process: subprocess.Popen[bytes]) -> None:
    while not admin.exists():
        if process.poll() is not None:
            raise RuntimeError(f"haproxy does not start: {(admin.parent / 'haproxy.log').read_text()}")
        time.sleep(0.02)
