"""The record: SQLite in WAL mode, one table of collections and one table of items for each of them.

An upsert or delete call is one transaction, committed with `synchronous=FULL` before anyone is told: it survives
`kill -9` and a power cut. A new or replaced item gets a new sequence number, never used before in its collection: `seq`
is the order of insertion, and whatever was derived from a row stays true for as long as that number is in the record.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from clip_core.errors import ClipServeError, StorageFull, Unavailable
from index_service.engines.base import IntArray
from index_service.errors import IndexStartError
from index_service.record import rows
from index_service.record.reading import RecordReader, chunk_of, connect, unreadable
from index_service.record.records import (
    Alias,
    CollectionInfo,
    ItemChunk,
    PatchedRow,
    StoredItem,
    StoredMetadata,
    WrittenRows,
)
from index_service.record.reserve import Reserve
from index_service.record.schema import PAGE_BYTES, SCHEMA_VERSION, create_items, migrate, version

__all__ = [
    "Alias",
    "CollectionInfo",
    "ItemChunk",
    "PatchedRow",
    "Store",
    "StoredItem",
    "StoredMetadata",
    "WrittenRows",
]
_COLUMNS = "name, model, fingerprint, dim, engine, recall_target, metric, metadata, created, key"
T = TypeVar("T")


class Store:
    """One writing and one reading connection to the database at `path`; safe to share between threads.

    A collection whose name begins with `HIDDEN`, which no caller can name, is being restored; if the process dies
    first, the next one forgets it.
    """

    HIDDEN = "."

    def __init__(self, path: Path, reserve: Reserve | None = None) -> None:
        """Raises IndexStartError when the file can't be opened or is of a newer version."""
        self.path, self._long_reads = path, RecordReader(path)
        self._reserve = reserve or Reserve(path.with_name("reserve"), 0)
        self._write_lock, self._read_lock = threading.Lock(), threading.Lock()
        try:
            self._writer = connect(path)
            self._migrate()
            self._reader = connect(path)
            for info in self._collections():
                if info.name.startswith(self.HIDDEN):
                    with suppress(ClipServeError):  # a full disk: it stays hidden until the next start
                        self.drop_collection(info.key)
        except (sqlite3.Error, ClipServeError) as error:
            advice = "restore it, or set CLIPSERVE_INDEX_DATA_DIR to another folder"
            raise IndexStartError(f"the record {path} can't be opened ({error}): {advice}") from error

    def _migrate(self) -> None:
        found = version(self._writer)
        if found > SCHEMA_VERSION:
            self._writer.close()
            raise IndexStartError(
                f"the record {self.path} is of schema version {found}, this program knows {SCHEMA_VERSION}: "
                "run the newer clipserve that wrote it, or set another data_dir"
            )
        if found < SCHEMA_VERSION:
            with self._transaction() as db:
                migrate(db)

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

    def _making_room(self, work: Callable[[], T]) -> T:
        """A write that gives room back: on a full disk the reserve is given up for it."""
        try:
            return work()
        except StorageFull:
            if not self._reserve.release():
                raise
        try:
            done = work()
        except StorageFull:  # the log may have room that a checkpoint gives back
            self._checkpoint()
            done = work()
        self._checkpoint()
        self._reserve.make()
        return done

    def _checkpoint(self) -> None:
        """Move the log into the file and empty it, as far as readers and the disk let it."""
        with self._write_lock, suppress(sqlite3.Error):
            self._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def _check_room(self) -> None:
        """Raises StorageFull while the reserve is missing, and the record hasn't as much room inside."""
        if self._reserve.make():
            return
        if self._read("PRAGMA freelist_count")[0][0] * PAGE_BYTES < self._reserve.bytes:
            raise StorageFull("the disk of the index service is full: delete items or collections, or make room on it")

    def close(self) -> None:
        """Close both connections; the last one merges the log into the file."""
        with self._read_lock, self._write_lock:
            self._reader.close()
            self._writer.close()

    def collections(self) -> list[CollectionInfo]:
        """Every collection that isn't hidden, by name."""
        return [info for info in self._collections() if not info.name.startswith(self.HIDDEN)]

    def _collections(self) -> list[CollectionInfo]:
        return [CollectionInfo(*row) for row in self._read(f"SELECT {_COLUMNS} FROM collections ORDER BY name")]

    def add_collection(self, info: CollectionInfo) -> int:
        """Record a collection whose name is new; its key."""
        values = (info.name, info.model, info.fingerprint, info.dim, info.engine, info.recall_target, info.metric)
        columns = _COLUMNS.removesuffix(", key")
        self._check_room()
        with self._transaction() as db:
            cursor = db.execute(
                f"INSERT INTO collections ({columns}) VALUES (?,?,?,?,?,?,?,?,?)",
                (*values, info.metadata, info.created),
            )
            key = int(cursor.lastrowid or 0)
            create_items(db, key)
        return key

    def holds(self, key: int) -> bool:
        """Whether there is a collection of this key."""
        return bool(self._read("SELECT 1 FROM collections WHERE key = ?", key))

    def rename_collection(self, key: int, name: str) -> None:
        """Give a collection a name that is new."""
        self._execute("UPDATE collections SET name = ? WHERE key = ?", name, key)

    def drop_collection(self, key: int) -> None:
        """Forget a collection and all its items."""
        self._making_room(lambda: self._drop_collection(key))

    def _drop_collection(self, key: int) -> None:
        with self._transaction() as db:
            db.execute("DELETE FROM collections WHERE key = ?", (key,))
            db.execute("UPDATE aliases SET previous = NULL WHERE previous = ?", (key,))
            db.execute(f"DROP TABLE items_{key}")

    def aliases(self) -> list[Alias]:
        """Every alias, by name."""
        return [Alias(*row) for row in self._read("SELECT name, key, previous FROM aliases ORDER BY name")]

    def set_alias(self, alias: Alias) -> None:
        """Make an alias, or point it elsewhere: what it led to can be dropped then."""
        self._making_room(lambda: self._execute("INSERT OR REPLACE INTO aliases VALUES (?,?,?)", *alias))

    def drop_alias(self, name: str) -> None:
        """Forget an alias: its collection can be dropped then."""
        self._making_room(lambda: self._execute("DELETE FROM aliases WHERE name = ?", name))

    def _execute(self, sql: str, *values: object) -> None:
        with self._transaction() as db:
            db.execute(sql, values)

    def upsert(self, key: int, items: Sequence[StoredItem]) -> WrittenRows:
        """Write all items, whose ids differ, or none; they are on disk on return. Raises StorageFull, Unavailable."""
        return self.upsert_all(key, [items])[0]

    def upsert_all(self, key: int, batches: Sequence[Sequence[StoredItem]]) -> list[WrittenRows]:
        """`upsert` for each of `batches`, one after the other, all or none."""
        self._check_room()
        with self._transaction() as db:
            return [rows.upsert(db, key, items) for items in batches]

    def patch(self, key: int, patched: Sequence[PatchedRow]) -> int:
        """Give rows other metadata and the next sequence numbers, all or none; the first of these."""
        self._check_room()
        with self._transaction() as db:
            return rows.patch(db, key, patched)

    def delete(self, key: int, ids: Sequence[str]) -> IntArray:
        """Delete the items of these ids, all or none; the sequence numbers of those that were there."""
        return self._making_room(lambda: self._delete(key, ids))

    def _delete(self, key: int, ids: Sequence[str]) -> IntArray:
        with self._transaction() as db:
            seqs = np.array(rows.seqs_of(db, key, ids), np.int64)
            rows.delete(db, key, seqs.tolist())
            return seqs

    def delete_rows(self, key: int, seqs: IntArray) -> None:
        """Delete the items of these sequence numbers, all or none."""
        self._making_room(lambda: self._delete_rows(key, seqs))

    def _delete_rows(self, key: int, seqs: IntArray) -> None:
        with self._transaction() as db:
            rows.delete(db, key, seqs.tolist())

    def _read(self, sql: str, *values: object) -> list[Any]:
        with self._read_lock:
            try:
                return self._reader.execute(sql, values).fetchall()
            except sqlite3.Error as error:
                raise unreadable(error) from error

    def count(self, key: int) -> int:
        """How many items a collection has."""
        return int(self._read(f"SELECT COUNT(*) FROM items_{key}")[0][0])

    def stream(self, key: int, after: int = 0) -> Iterator[ItemChunk]:
        """See `RecordReader.stream`."""
        return self._long_reads.stream(key, after)

    def seqs(self, key: int) -> IntArray:
        """See `RecordReader.seqs`."""
        return self._long_reads.seqs(key)

    def last_seq(self, key: int) -> int:
        """The largest sequence number ever given out in a collection; 0 when none was."""
        with self._write_lock:
            return rows.last_seq(self._writer, key)

    def get(self, key: int, id_: str) -> StoredItem | None:
        """The item, or None."""
        return next(iter(self.items(key, [id_])), None)

    def items(self, key: int, ids: Sequence[str]) -> list[StoredItem]:
        """Those of `ids` that there are, in any order."""
        return list(map(StoredItem._make, self._by_ids("id, vector, metadata, source", key, ids)))

    def metadata(self, key: int, ids: Sequence[str]) -> list[StoredMetadata]:
        """Those of `ids` that there are, in any order."""
        return list(map(StoredMetadata._make, self._by_ids("seq, id, metadata", key, ids)))

    def _by_ids(self, columns: str, key: int, ids: Sequence[str]) -> list[Any]:
        select = f"SELECT {columns} FROM items_{key} WHERE id IN"
        return [row for some in rows.batches(ids) for row in self._read(f"{select} ({rows.places(some)})", *some)]

    def page(self, key: int, after: str, limit: int) -> list[tuple[str, bytes]]:
        """(id, metadata) of up to `limit` items whose id follows `after`, by id."""
        return self._read(f"SELECT id, metadata FROM items_{key} WHERE id > ? ORDER BY id LIMIT ?", after, limit)

    def entries(self, key: int, after: str, limit: int) -> list[tuple[str, int]]:
        """(id, sequence number) of up to `limit` items whose id follows `after`, by id: not read from the wide rows."""
        return self._read(f"SELECT id, seq FROM items_{key} WHERE id > ? ORDER BY id LIMIT ?", after, limit)

    def since(self, key: int, after: int, limit: int) -> ItemChunk:
        """Up to `limit` items written after the sequence number `after`, in the order of writing."""
        columns = f"SELECT seq, id, vector, metadata, source FROM items_{key}"
        return chunk_of(self._read(f"{columns} WHERE seq > ? ORDER BY seq LIMIT ?", after, limit))


def _mapped(error: sqlite3.Error) -> ClipServeError:
    if "no such table: items_" in str(error):
        return unreadable(error)
    # SQLite calls only ENOSPC "full"; a quota or a limit on file sizes is a failed write, which Python 3.10 can't name.
    unnamed = "SQLITE_IOERR_WRITE" if "disk I/O" in str(error) else ""
    failed = getattr(error, "sqlite_errorname", unnamed) in ("SQLITE_IOERR_WRITE", "SQLITE_IOERR_SHMSIZE")
    if failed or "full" in str(error):
        return StorageFull("the disk of the index service is full: nothing was written; searches go on")
    return Unavailable(f"the record of the index service can't be written: {error}")
