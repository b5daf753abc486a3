"""The record of background jobs: one SQLite file, so that a restarted gateway goes on where it stopped."""

from __future__ import annotations

import sqlite3
import threading
import uuid
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, fields
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from clip_core.errors import UnknownJob

UNFINISHED = ("queued", "running")
_SCHEMA = """
CREATE TABLE IF NOT EXISTS jobs (
    id TEXT PRIMARY KEY, collection TEXT NOT NULL, source TEXT NOT NULL, state TEXT NOT NULL, total INTEGER,
    position INTEGER NOT NULL, added INTEGER NOT NULL, seconds REAL NOT NULL, message TEXT, error TEXT,
    created TEXT NOT NULL, finished TEXT, key TEXT
) STRICT;
CREATE TABLE IF NOT EXISTS failures (
    job TEXT NOT NULL, place INTEGER NOT NULL, item TEXT NOT NULL, error TEXT NOT NULL, retry INTEGER NOT NULL,
    PRIMARY KEY (job, place)
) STRICT, WITHOUT ROWID;
"""


def now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds").replace("+00:00", "Z")


@dataclass(frozen=True)
class Job:
    """`position`: entries of the source that were dealt with; `seconds`: time spent running; JSON as text.

    `key`: the id of the API key whose work it is; None: a call without a key.
    """

    id: str
    collection: str
    source: str
    state: str
    total: int | None
    position: int
    added: int
    seconds: float
    message: str | None
    error: str | None
    created: str
    finished: str | None
    key: str | None


class Failure(NamedTuple):
    """An entry set aside; `error` is the envelope as JSON text."""

    place: int
    item: str
    error: str


_COLUMNS = ", ".join(field.name for field in fields(Job))
_LONG_SOURCE = 4096  # characters
_SHORT_SOURCE = (
    f"iif(length(source) > {_LONG_SOURCE}, json_object('urls_total', json_array_length(source, '$.urls')), source)"
)
_SHORT_COLUMNS = _COLUMNS.replace("source", f"{_SHORT_SOURCE} AS source")


class JobStore:
    """Safe to use from several threads. The file is made with the first job, not before."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.RLock()
        self._opened: sqlite3.Connection | None = None

    def close(self) -> None:
        with self._lock:
            if self._opened is not None:
                self._opened.close()
                self._opened = None

    def add(self, collection: str, source: dict[str, Any], key: str | None) -> Job:
        values = (uuid.uuid4().hex, collection, orjson.dumps(source).decode(), now(), key)
        with self._lock, self._db as db:
            db.execute("INSERT INTO jobs VALUES (?, ?, ?, 'queued', NULL, 0, 0, 0, NULL, NULL, ?, NULL, ?)", values)
        return self.get(values[0])

    def get(self, job_id: str) -> Job:
        """Raises UnknownJob."""
        return self._get(job_id, _COLUMNS)

    def summary(self, job_id: str) -> Job:
        """As `get`, with a source as `page` shows it."""
        return self._get(job_id, _SHORT_COLUMNS)

    def _get(self, job_id: str, columns: str) -> Job:
        found = self._rows(f"SELECT {columns} FROM jobs WHERE id = ?", job_id)
        if not found:
            raise UnknownJob(f"there is no job {job_id[:64]!r}", param="job_id")
        return Job(*found[0])

    def page(self, after: str | None = None, limit: int = 100) -> list[Job]:
        """Newest first, those before the job `after`; of a long source only its kind and its number of URLs."""
        where = "" if after is None else "WHERE rowid < (SELECT rowid FROM jobs WHERE id = ?)"
        query = f"SELECT {_SHORT_COLUMNS} FROM jobs {where} ORDER BY rowid DESC LIMIT ?"
        return [Job(*row) for row in self._rows(query, *([] if after is None else [after]), limit)]

    def unfinished(self) -> list[str]:
        """Ids, oldest first."""
        return [row[0] for row in self._rows("SELECT id FROM jobs WHERE state IN (?, ?) ORDER BY rowid", *UNFINISHED)]

    def update(self, job_id: str, **values: Any) -> None:
        """Set columns by name."""
        names = ", ".join(f"{name} = ?" for name in values)
        with self._lock, self._db as db:
            db.execute(f"UPDATE jobs SET {names} WHERE id = ?", (*values.values(), job_id))

    def advance(
        self, job_id: str, position: int, good: Sequence[int], failures: Sequence[Failure], seconds: float
    ) -> None:
        """One batch, whole or not at all: the places that went in, and those that are set aside."""
        with self._lock, self._db as db:
            db.executemany("DELETE FROM failures WHERE job = ? AND place = ?", [(job_id, place) for place in good])
            rows = [(job_id, *failure) for failure in failures]
            db.executemany("INSERT OR REPLACE INTO failures VALUES (?, ?, ?, ?, 0)", rows)
            db.execute(
                "UPDATE jobs SET position = max(position, ?), added = added + ?, seconds = seconds + ?, message = NULL "
                "WHERE id = ?",
                (position, len(good), seconds, job_id),
            )

    def failed(self, job_id: str) -> int:
        """How many entries are set aside."""
        return int(self._rows("SELECT count(*) FROM failures WHERE job = ?", job_id)[0][0])

    def failures(self, job_id: str, after: int = -1, limit: int = 100) -> list[Failure]:
        query = "SELECT place, item, error FROM failures WHERE job = ? AND place > ? ORDER BY place LIMIT ?"
        return [Failure(*row) for row in self._rows(query, job_id, after, limit)]

    def retry(self, job_id: str, key: str | None) -> bool:
        """Queue it again, with what was set aside, as the work of `key`. False when it is queued or runs already."""
        again = "UPDATE jobs SET state = 'queued', error = NULL, finished = NULL, key = ? WHERE id = ?"
        with self._lock, self._db as db:
            if not db.execute(f"{again} AND state NOT IN (?, ?)", (key, job_id, *UNFINISHED)).rowcount:
                return False
            db.execute("UPDATE failures SET retry = 1 WHERE job = ?", (job_id,))
        return True

    def to_retry(self, job_id: str) -> set[int]:
        """The places of entries to be tried again."""
        return {row[0] for row in self._rows("SELECT place FROM failures WHERE job = ? AND retry = 1", job_id)}

    def _rows(self, query: str, *values: Any) -> list[Any]:
        with self._lock:
            if self._opened is None and not self._path.exists():
                return [(0,)] if "count(*)" in query else []
            with closing(self._db.execute(query, values)) as cursor:
                return cursor.fetchall()

    @property
    def _db(self) -> sqlite3.Connection:
        if self._opened is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._opened = sqlite3.connect(self._path, check_same_thread=False)
            self._opened.execute("PRAGMA journal_mode = WAL")
            self._opened.executescript(_SCHEMA)
            _add_key_column(self._opened)
        return self._opened


def _add_key_column(db: sqlite3.Connection) -> None:
    """Records of the first version have none; their jobs count as calls without a key."""
    if "key" not in {row[1] for row in db.execute("PRAGMA table_info(jobs)")}:
        db.execute("ALTER TABLE jobs ADD COLUMN key TEXT")
