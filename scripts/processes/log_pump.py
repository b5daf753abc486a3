"""What a process writes on stdout and stderr, its logging and its tracebacks alike, goes into a rotated file."""

from __future__ import annotations

import fcntl
import os
import threading
import time
from contextlib import suppress
from typing import IO

from scripts.processes.rotated_log import RotatedLog

_PIPE_BYTES = 1 << 20
_CHUNK = 1 << 16
_PAUSE_S = 0.05  # lines are taken together: a process under load never has to wake this thread
_SETTLE_S = 1.0
_F_SETPIPE_SZ = 1031  # Linux's; other systems answer OSError


class LogPump:
    """A thread that reads `pipe` until its end. A line is written whole, but for one over 64 KiB."""

    def __init__(self, pipe: IO[bytes], log: RotatedLog) -> None:
        self._pipe, self._log = pipe, log
        with suppress(OSError):  # the limits of this user: a smaller pipe does as well
            fcntl.fcntl(pipe, _F_SETPIPE_SZ, _PIPE_BYTES)
        self._thread = threading.Thread(target=self._run, name="log", daemon=True)
        self._thread.start()

    def settle(self) -> None:
        """Wait a moment for the last lines of a process that has ended; its children may hold the pipe for longer."""
        self._thread.join(_SETTLE_S)

    def close(self) -> None:
        """When every process that wrote is gone."""
        self.settle()
        if not self._thread.is_alive():
            self._pipe.close()

    def _run(self) -> None:
        rest = b""
        while chunk := os.read(self._pipe.fileno(), _CHUNK):
            lines, newline, rest = (rest + chunk).rpartition(b"\n")
            if len(rest) >= _CHUNK:
                lines, newline, rest = lines + newline + rest, b"\n", b""
            self._log.write(lines + newline)
            if len(chunk) < _CHUNK:
                time.sleep(_PAUSE_S)
        if rest:
            self._log.write(rest + b"\n")
