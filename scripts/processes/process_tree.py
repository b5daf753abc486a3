"""A process with its descendants: which run, how much memory they hold, and an end to all of them."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Sequence

import psutil


def family(pid: int) -> list[psutil.Process]:
    """The children of a process, and theirs."""
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def kill_all(leader: subprocess.Popen[bytes], children: Sequence[psutil.Process]) -> None:
    """SIGKILL to the leader of a group, to what is left of the group, and to these children."""
    for process in children:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(leader.pid, signal.SIGKILL)


def runs(process: psutil.Process) -> bool:
    """A zombie that nobody reaps does not run."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def resident_bytes(pids: Sequence[int]) -> int:
    """Memory of these processes and their children; pages that they share count once where the kernel says so."""
    processes = [psutil.Process(pid) for pid in pids]
    family = processes + [child for process in processes for child in process.children(recursive=True)]
    return sum(getattr(p.memory_full_info(), "pss", p.memory_info().rss) for p in family)
