"""A second gateway beside a stack's own, which never lets requests share one: what sharing gains, in the same run."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil

from scripts.public_api import PublicApi
from scripts.stack.live_stack import LiveStack, free_ports

NEVER = 1_000_000


@contextmanager
def unshared_gateway(stack: LiveStack, directory: Path, timeout_s: float = 60.0) -> Iterator[tuple[str, int]]:
    """→ its address and process id. Raises RuntimeError when it does not become ready."""
    (port,) = free_ports(1)
    own = {"PORT": port, "DATA_DIR": directory, "SHARE_ABOVE": NEVER, "INDEX_URL": stack.index}
    own |= {"TORCHSERVE_URL": stack.inference, "MANAGEMENT_URL": f"http://127.0.0.1:{stack.ports['management_port']}"}
    environment = {**os.environ, **{f"CLIPSERVE_GATEWAY_{name}": str(value) for name, value in own.items()}}
    process = subprocess.Popen([sys.executable, "-m", "gateway"], env=environment, stderr=subprocess.DEVNULL)
    try:
        url = f"http://127.0.0.1:{port}"
        _wait(PublicApi(url, timeout_s=5), process, timeout_s)
        yield url, process.pid
    finally:
        process.terminate()
        process.wait(30)


def _wait(api: PublicApi, process: subprocess.Popen[bytes], timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    while not api.ready()[0]:
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError("the gateway that shares nothing did not start")
        time.sleep(0.1)


def processor_s(pids: Sequence[int]) -> float:
    """Processor time of these processes and their children so far, which a crowded machine distorts least."""
    roots = [psutil.Process(pid) for pid in pids]
    family = {process.pid: process for root in roots for process in (root, *root.children(recursive=True))}
    return sum(sum(process.cpu_times()[:2]) for process in family.values())
