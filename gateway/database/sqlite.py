"""One SQLite file of this gateway."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any


class SqliteRecord:
    """The file is made with the first write, not before; `prepare` gives it its tables."""

    def __init__(self, path: Path, prepare: Callable[[sqlite3.Connection], None]) -> None:
        self.path, self._prepare = path, prepare
        self._lock = threading.RLock()
        self._opened: sqlite3.Connection | None = None
        self._ended = False

    def close(self) -> None:
        """For good: a thread that still uses it gets sqlite3.ProgrammingError."""
        with self._lock:
            self._ended = True
            if self._opened is not None:
                self._opened.close()
                self._opened = None

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock, self._db as db:
            yield db

    def rows(self, query: str, *values: Any) -> list[Any]:
        with self._lock:
            if self._opened is None and not self.path.exists():
                return []
            with closing(self._db.execute(query, values)) as cursor:
                return cursor.fetchall()

    @property
    def _db(self) -> sqlite3.Connection:
        if self._ended:
            raise sqlite3.ProgrammingError("the record is closed")
        if self._opened is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            opened = sqlite3.connect(self.path, timeout=30, check_same_thread=False)
            try:
                self._prepare(opened)
            except BaseException:  # the next call tries again
                opened.close()
                raise
            self._opened = opened
        return self._opened
