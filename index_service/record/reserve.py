"""Disk space kept for a full disk: a deletion needs some before it frees any.

    <data_dir>/reserve   zeros; removed for a deletion that a full disk refused, made again as soon as there is room

While it is gone, writes that take room are refused, unless the record has as many free pages inside.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path


class Reserve:
    """The file at `path`, of `bytes` bytes; with 0 bytes no file is made."""

    def __init__(self, path: Path, bytes_: int) -> None:
        self._path, self.bytes = path, bytes_
        self._there = path.exists() and path.stat().st_size >= bytes_  # else its making was cut short

    def make(self) -> bool:
        """Make the file if the disk has room for it. Returns whether it exists."""
        if self._there or not self.bytes:
            return True
        try:
            with self._path.open("wb") as file:
                os.posix_fallocate(file.fileno(), 0, self.bytes)
        except OSError:
            with suppress(OSError):
                self._path.unlink()
            return False
        self._there = True
        return True

    def release(self) -> bool:
        """Remove the file, so that others can use its space. Returns whether it existed."""
        self._there = False
        try:
            self._path.unlink()
        except FileNotFoundError:
            return False
        return True
