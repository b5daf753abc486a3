"""Names by the million, sorted, in a temporary file of SQLite's instead of memory."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterable, Iterator
from typing import Any

_PAGE = 500


class Spool:
    """Rows of (name, value), sorted by name; the first row of a name counts. The file ends with it."""

    def __init__(self) -> None:
        self._db = sqlite3.connect("", check_same_thread=False, isolation_level=None)
        self._lock = threading.Lock()
        self._db.execute("PRAGMA cache_size = -2048")  # kilobytes
        self._db.execute("PRAGMA synchronous = OFF")
        self._db.execute("CREATE TABLE rows (name BLOB PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID")

    def close(self) -> None:
        with self._lock:
            self._db.close()

    def add(self, rows: Iterable[tuple[bytes, str]]) -> int:
        """How many of these names are new. Where `rows` raises, those before are added."""
        with self._lock:
            self._db.execute("BEGIN")
            before = self._db.total_changes
            try:
                self._db.executemany("INSERT OR IGNORE INTO rows VALUES (?, ?)", rows)
            finally:
                self._db.execute("COMMIT")
            return self._db.total_changes - before

    def get(self, name: bytes) -> str | None:
        found = self._all("SELECT value FROM rows WHERE name = ?", name)
        return found[0][0] if found else None

    def between(self, start: bytes, end: bytes) -> Iterator[bytes]:
        """Names from `start` up to, and without, `end`."""
        while found := self._all("SELECT name FROM rows WHERE name >= ? AND name < ? LIMIT ?", start, end, _PAGE):
            yield from (name for (name,) in found)
            start = found[-1][0] + b"\0"

    def __len__(self) -> int:
        return int(self._all("SELECT count(*) FROM rows")[0][0])

    def __iter__(self) -> Iterator[tuple[bytes, str]]:
        start = b""
        while found := self._all("SELECT name, value FROM rows WHERE name >= ? ORDER BY name LIMIT ?", start, _PAGE):
            yield from found
            start = found[-1][0] + b"\0"

    def _all(self, query: str, *values: Any) -> list[Any]:
        with self._lock:
            return self._db.execute(query, values).fetchall()
