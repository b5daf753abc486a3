"""Captions that were paid for, on disk, by the digest of what was asked: the same picture is never billed twice."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import threading
from pathlib import Path

_SCHEMA = "CREATE TABLE IF NOT EXISTS captions (digest TEXT PRIMARY KEY, text TEXT NOT NULL, by TEXT NOT NULL)"
_log = logging.getLogger("gateway.assistant")


class KeptCaptions:
    """The file is opened with the first caption. Without it, or where it is damaged, nothing is kept."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._lock = threading.Lock()
        self._database: sqlite3.Connection | None = None

    async def get(self, digest: str) -> tuple[str, str] | None:
        """A caption, and the model that wrote it."""
        return await asyncio.to_thread(self._get, digest)

    async def put(self, digest: str, text: str, by: str) -> None:
        await asyncio.to_thread(self._put, digest, text, by)

    def close(self) -> None:
        with self._lock:
            if self._database is not None:
                self._database.close()
            self._database = None

    def _get(self, digest: str) -> tuple[str, str] | None:
        try:
            with self._lock:
                row = self._opened().execute("SELECT text, by FROM captions WHERE digest = ?", (digest,)).fetchone()
        except (OSError, sqlite3.Error) as error:
            _log.warning("kept captions can't be read: %s", error)
            return None
        return None if row is None else (str(row[0]), str(row[1]))

    def _put(self, digest: str, text: str, by: str) -> None:
        try:
            with self._lock, self._opened() as database:
                database.execute("INSERT OR REPLACE INTO captions VALUES (?, ?, ?)", (digest, text, by))
        except (OSError, sqlite3.Error) as error:
            _log.warning("a caption could not be kept, and may be paid for again: %s", error)

    def _opened(self) -> sqlite3.Connection:
        if self._database is None:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            database = sqlite3.connect(self._file, check_same_thread=False)
            database.execute(_SCHEMA)
            self._database = database
        return self._database
