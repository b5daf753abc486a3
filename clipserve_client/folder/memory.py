"""What earlier runs put into a collection: of each item its file, size, time and digests, in the user's cache."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

import clipserve_client.settings as settings
from clipserve_client.sources.files import Stamp
from clipserve_client.sources.planning import Known, digest

_NO_FILE = ":memory:"
_SCHEMA = """
CREATE TABLE IF NOT EXISTS about (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS items (
    id TEXT PRIMARY KEY, path BLOB NOT NULL, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL,
    digest TEXT NOT NULL, about TEXT NOT NULL
);
"""


def memory_path(url: str, collection: str) -> Path:
    """One file for each gateway and collection."""
    return settings.cache_folder() / f"ingest-{digest(f'{url} {collection}'.encode())[:16]}.db"


class Memory:
    """Forgets everything when the collection is another one (`identity`), or when its own file is damaged.

    Without a `path`, or where the file can't be written, it lasts as long as the process.
    """

    def __init__(self, path: Path | None, identity: str) -> None:
        try:
            self._db = _opened(_file(path), identity)
        except sqlite3.OperationalError:
            self._db = _opened(_NO_FILE, identity)
        except sqlite3.DatabaseError:
            Path(_file(path)).unlink(missing_ok=True)
            self._db = _opened(_file(path), identity)

    def close(self) -> None:
        self._db.close()

    def is_of(self, identity: str) -> None:
        """Of a collection that was made meanwhile."""
        with self._db:
            _note(self._db, identity)

    def known(self, item_id: str) -> Known | None:
        with closing(
            self._db.execute("SELECT path, size, mtime_ns, digest, about FROM items WHERE id = ?", (item_id,))
        ) as rows:
            row = rows.fetchone()
        return None if row is None else Known(row[0], Stamp(row[1], row[2]), row[3], row[4])

    def is_empty(self) -> bool:
        return self._db.execute("SELECT 1 FROM items LIMIT 1").fetchone() is None

    def remember(self, items: Iterable[tuple[str, Known]]) -> None:
        rows = [(item_id, each.path, *each.stamp, each.digest, each.about) for item_id, each in items]
        with self._db:
            self._db.executemany("INSERT OR REPLACE INTO items VALUES (?, ?, ?, ?, ?, ?)", rows)


def _file(path: Path | None) -> str:
    """In a folder that only the user may read: it names files."""
    try:
        if path is not None:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            return str(path)
    except OSError:
        pass
    return _NO_FILE


def _note(db: sqlite3.Connection, identity: str) -> None:
    db.execute("INSERT OR REPLACE INTO about VALUES ('identity', ?)", (identity,))


def _opened(path: str, identity: str) -> sqlite3.Connection:
    db = sqlite3.connect(path, timeout=30)
    try:
        db.execute("PRAGMA synchronous = OFF")  # what is lost is sent again
        db.executescript(_SCHEMA)
        row = db.execute("SELECT value FROM about WHERE name = 'identity'").fetchone()
        if row is None or row[0] != identity:
            with db:
                db.execute("DELETE FROM items")
                _note(db, identity)
    except BaseException:
        db.close()
        raise
    return db
