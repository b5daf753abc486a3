"""One gateway runs the jobs of a data folder: the one that holds the lock on a file in it, until its process ends."""

from __future__ import annotations

import fcntl
import os
import socket
from pathlib import Path

from clip_core.errors import Conflict


class JobLock:
    """Taken when there are jobs to run."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._handle: int | None = None

    def take(self) -> None:
        """Again and again without harm. Raises Conflict, which says who holds it and what to do."""
        if self._handle is not None:
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(handle, 0)
            os.pwrite(handle, f"process {os.getpid()} on {socket.gethostname()}".encode(), 0)
        except BlockingIOError as error:
            holder = os.pread(handle, 200, 0).decode("utf-8", "replace") or "another process"
            os.close(handle)
            raise Conflict(_held(holder, self._path.parent)) from error
        except BaseException:
            os.close(handle)
            raise
        self._handle = handle

    def release(self) -> None:
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None


def _held(holder: str, folder: Path) -> str:
    return (
        f"another gateway ({holder}) runs the jobs of {folder}: send jobs to that one, "
        "or give this one a folder of its own (CLIPSERVE_GATEWAY_DATA_DIR)"
    )
