"""The record: SQLite in WAL mode, one table of collections and one table of items for each of them.

An upsert or delete call is one transaction, committed with `synchronous=FULL` before anyone is told: it survives
`kill -9` and a power cut. A new or replaced item gets a new sequence number, so `seq` is the order of insertion.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, NamedTuple

from clip_core.errors import ClipServeError, StorageFull, Unavailable
from index_service.errors import StartError

SCHEMA_VERSION = 1
_SCHEMA = """
CREATE TABLE collections (
    key INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE, model TEXT NOT NULL, fingerprint TEXT NOT NULL,
    dim INTEGER NOT NULL, engine TEXT NOT NULL, recall_target REAL, metadata BLOB NOT NULL, created TEXT NOT NULL
) STRICT
"""
_ITEMS = """
CREATE TABLE items_{key} (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, vector BLOB NOT NULL, metadata BLOB NOT NULL
) STRICT
"""
_COLUMNS = "name, model, fingerprint, dim, engine, recall_target, metadata, created, key"
_CHUNK = 2048


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds").replace("+00:00", "Z")


@dataclass(frozen=True)
class CollectionInfo:
    """What a collection was created with; `metadata` is JSON text, `key` the record's own number for it."""

    name: str
    model: str
    fingerprint: str
    dim: int
    engine: str = "auto"
    recall_target: float | None = None
    metadata: bytes = b"{}"
    created: str = field(default_factory=_now)
    key: int = 0


class Item(NamedTuple):
    """One row: `vector` is D little-endian float32, `metadata` JSON text of an object."""

    id: str
    vector: bytes
    metadata: bytes


class Store:
    """One writing and one reading connection to the database at `path`; safe to share between threads."""

    def __init__(self, path: Path) -> None:
        """Raises StartError when the file can't be opened or is of a newer version."""
        self.path = path
        self._write_lock, self._read_lock = threading.Lock(), threading.Lock()
        try:
            self._writer = self._connect()
            self._migrate()
            self._reader = self._connect()
        except (sqlite3.Error, ClipServeError) as error:
            advice = "restore it, or set CLIPSERVE_INDEX_DATA_DIR to another folder"
            raise StartError(f"the record {path} can't be opened ({error}): {advice}") from error

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "fullfsync=1", "busy_timeout=5000"):
            connection.execute(f"PRAGMA {pragma}").close()
        return connection

    def _migrate(self) -> None:
        version = self._writer.execute("PRAGMA user_version").fetchone()[0]
        if version > SCHEMA_VERSION:
            self._writer.close()
            raise StartError(
                f"the record {self.path} is of schema version {version}, this program knows {SCHEMA_VERSION}: "
                "run the newer clipserve that wrote it, or set another data_dir"
            )
        if version == 0:
            with self._transaction() as db:
                db.execute(_SCHEMA)
                db.execute(f"PRAGMA user_version={SCHEMA_VERSION}")

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._write_lock:
            try:
                self._writer.execute("BEGIN IMMEDIATE")
                yield self._writer
                self._writer.execute("COMMIT")
            except BaseException as error:
                if self._writer.in_transaction:
                    self._writer.execute("ROLLBACK")
                if isinstance(error, sqlite3.Error):
                    raise _mapped(error) from error
                raise

    def close(self) -> None:
        """Close both connections; the last one merges the log into the file."""
        with self._read_lock, self._write_lock:
            self._reader.close()
            self._writer.close()

    def collections(self) -> list[CollectionInfo]:
        """Every collection, by name."""
        return [CollectionInfo(*row) for row in self._read(f"SELECT {_COLUMNS} FROM collections ORDER BY name")]

    def add_collection(self, info: CollectionInfo) -> int:
        """Record a collection whose name is new; its key."""
        values = (info.name, info.model, info.fingerprint, info.dim, info.engine, info.recall_target)
        columns = _COLUMNS.removesuffix(", key")
        with self._transaction() as db:
            cursor = db.execute(
                f"INSERT INTO collections ({columns}) VALUES (?,?,?,?,?,?,?,?)", (*values, info.metadata, info.created)
            )
            key = int(cursor.lastrowid or 0)
            db.execute(_ITEMS.format(key=key))
        return key

    def drop_collection(self, key: int) -> None:
        """Forget a collection and all its items."""
        with self._transaction() as db:
            db.execute("DELETE FROM collections WHERE key = ?", (key,))
            db.execute(f"DROP TABLE items_{key}")

    def upsert(self, key: int, items: Iterable[Item]) -> None:
        """Write all items or none; returns once they are on disk. Raises StorageFull, Unavailable."""
        with self._transaction() as db:
            db.executemany(f"INSERT OR REPLACE INTO items_{key} (id, vector, metadata) VALUES (?,?,?)", items)

    def delete(self, key: int, ids: Sequence[str]) -> None:
        """Delete the items of these ids, all or none; unknown ids are passed over."""
        with self._transaction() as db:
            db.executemany(f"DELETE FROM items_{key} WHERE id = ?", ((id_,) for id_ in ids))

    def _read(self, sql: str, *values: object) -> list[Any]:
        with self._read_lock:
            try:
                return self._reader.execute(sql, values).fetchall()
            except sqlite3.Error as error:
                raise Unavailable(f"the record of the index service can't be read: {error}") from error

    def count(self, key: int) -> int:
        """How many items a collection has."""
        return int(self._read(f"SELECT COUNT(*) FROM items_{key}")[0][0])

    def stream(self, key: int) -> Iterator[list[Item]]:
        """All items in the order of insertion, some thousands at a time, over a connection of its own."""
        with closing(self._connect()) as db:
            cursor = db.execute(f"SELECT id, vector, metadata FROM items_{key} ORDER BY seq")
            while rows := cursor.fetchmany(_CHUNK):
                yield [Item(*row) for row in rows]

    def get(self, key: int, id_: str) -> Item | None:
        """The item, or None."""
        rows = self._read(f"SELECT id, vector, metadata FROM items_{key} WHERE id = ?", id_)
        return Item(*rows[0]) if rows else None

    def page(self, key: int, after: str, limit: int) -> list[tuple[str, bytes]]:
        """(id, metadata) of up to `limit` items whose id follows `after`, by id."""
        return self._read(f"SELECT id, metadata FROM items_{key} WHERE id > ? ORDER BY id LIMIT ?", after, limit)


def _mapped(error: sqlite3.Error) -> ClipServeError:
    if "full" in str(error):
        return StorageFull("the disk of the index service is full: nothing was written; searches go on")
    return Unavailable(f"the record of the index service can't be written: {error}")
