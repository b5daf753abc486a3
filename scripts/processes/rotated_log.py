"""A log file of bounded size: at `max_bytes`, FILE becomes FILE.1, FILE.1 becomes FILE.2, and so on up to `keep`."""

from __future__ import annotations

import os
import re
import threading
from contextlib import suppress
from pathlib import Path

_FRAME = re.compile(
    r"\s+(?:at [\w$.<>/@-]+\(|\.\.\. \d+ (?:more|common frames))"
)  # `\tat a.B.c(B.java:1)`, `\t... 3 more`


class RotatedLog:
    """Appends to what is there. For several threads. A full disk loses lines, never the process that writes."""

    def __init__(self, path: Path, max_bytes: int = 20_000_000, keep: int = 5) -> None:
        self.path = path
        self._max_bytes, self._keep, self._lock = max_bytes, keep, threading.Lock()
        path.parent.mkdir(parents=True, exist_ok=True)
        self._open()
        self._start = self._size  # where the lines of this run begin

    def write(self, lines: bytes) -> None:
        """`lines`: whole lines; no line is cut unless it alone is larger than a file."""
        with self._lock:
            try:
                self._write(lines)
            except OSError:
                self._size = self.path.stat().st_size if self.path.exists() else 0

    def tail(self, count: int) -> list[str]:
        """The last `count` lines of this run, without Java's stack frames, which would push out the reason."""
        with self._lock:
            written = self.path.read_bytes()[self._start :] if self.path.exists() else b""
        lines = written.decode("utf-8", "replace").splitlines()
        return [line for line in lines if not _FRAME.match(line)][-count:]

    def close(self) -> None:
        os.close(self._file)

    def _open(self) -> None:
        self._file = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        with suppress(OSError):  # another user's file
            os.fchmod(self._file, 0o600)
        self._size = os.fstat(self._file).st_size

    def _write(self, lines: bytes) -> None:
        while lines:
            room = self._max_bytes - self._size
            end = len(lines) if len(lines) <= room else lines.rfind(b"\n", 0, max(room, 0)) + 1
            if not end and not self._size:
                end = self._max_bytes
            if end:
                self._size += os.write(self._file, lines[:end])
                lines = lines[end:]
            if lines:
                self._rotate()

    def _rotate(self) -> None:
        for number in range(self._keep, 0, -1):
            older = self._numbered(number - 1)
            if older.exists():
                os.replace(older, self._numbered(number))
        if not self._keep:
            self.path.unlink(missing_ok=True)
        full = self._file
        self._open()  # where that fails, lines go on into the full file: a closed one's number may be another's soon
        os.close(full)
        self._start = 0

    def _numbered(self, number: int) -> Path:
        return self.path.with_name(f"{self.path.name}.{number}") if number else self.path
