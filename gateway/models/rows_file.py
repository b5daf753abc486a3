"""The file of rows, looked at again and again: what changes in it is served a moment later."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from pathlib import Path

from gateway.models.rows import ModelRow, RowsError, read_rows

LOOK_S = 0.5
Rows = tuple[ModelRow, ...]
_log = logging.getLogger("gateway.models.rows_file")


class RowsFile:
    """The rows of `path`. A file that is gone or makes no sense is logged once, and the rows before stay."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._version: tuple[int, int, int] | None = None
        self._failure = ""

    def first(self) -> Rows:
        """Raises RowsError."""
        self._version = self._look_at()
        return read_rows(self._path)

    def changed(self) -> Rows | None:
        """The rows, where the file has changed since it was last read."""
        version = self._look_at()
        if version == self._version:
            return None
        self._version = version
        try:
            rows = read_rows(self._path)
        except RowsError as error:
            self._version = None  # what can't be read now is read again: a network's folder may be away for a moment
            self._tell(str(error))
            return None
        self._failure = ""
        return rows

    async def watch(self, take: Callable[[Rows], object]) -> None:
        """Give `take` the rows whenever they change. In threads, since a file may block (a network's folder).

        Rows that `take` fails on end nothing: later ones are taken.
        """
        while True:
            await asyncio.sleep(LOOK_S)
            rows = await asyncio.to_thread(self.changed)
            if rows is None:
                continue
            try:
                take(rows)
            except Exception:
                _log.exception("the models of %s can't be served; those before stay", self._path)

    def _look_at(self) -> tuple[int, int, int] | None:
        """None: it can't be seen."""
        with contextlib.suppress(OSError):
            seen = self._path.stat()
            return seen.st_mtime_ns, seen.st_size, seen.st_ino
        return None

    def _tell(self, failure: str) -> None:
        if failure != self._failure:
            self._failure = failure
            _log.error("%s; the models read before stay", failure)
