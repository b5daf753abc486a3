"""Long reads of the record, each over a connection of its own: by the service, and by the builder beside it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from clip_core.errors import ClipServeError, Unavailable, UnknownCollection
from index_service.engines.base import IntArray
from index_service.record.records import ItemChunk, StoredItem
from index_service.record.schema import PAGE_BYTES

_CHUNK = 2048
_LOG_BYTES = 64 << 20  # that the write-ahead log keeps: while a snapshot is read it grows with all that is written


class RecordReader:
    """Of the database at `path`, which some `Store` has made; any process may have one beside the store."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        """A connection of its own, which sees one moment."""
        try:
            with closing(connect(self.path)) as db:
                yield db
        except sqlite3.Error as error:
            raise unreadable(error) from error

    def stream(self, key: int, after: int = 0) -> Iterator[ItemChunk]:
        """Items in the order of insertion from beyond `after`, some thousands at a time, as of one moment."""
        with self._reading() as db:
            cursor = db.execute(
                f"SELECT seq, id, vector, metadata, source FROM items_{key} WHERE seq > ? ORDER BY seq", (after,)
            )
            while rows := cursor.fetchmany(_CHUNK):
                yield chunk_of(rows)

    def seqs(self, key: int) -> IntArray:
        """The sequence numbers of all items, ascending: read from the index over the ids, not from the wide rows."""
        with self._reading() as db:
            rows = db.execute(f"SELECT seq FROM items_{key}")
            return np.sort(np.fromiter((seq for (seq,) in rows), np.int64))


def chunk_of(rows: Sequence[Any]) -> ItemChunk:
    """Rows of (seq, id, vector, metadata, source) as they were read."""
    return ItemChunk([row[0] for row in rows], [StoredItem(*row[1:]) for row in rows])


def connect(path: Path) -> sqlite3.Connection:
    """A connection that commits to disk; any thread may use it, one at a time."""
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    for pragma in (
        f"page_size={PAGE_BYTES}",
        "journal_mode=WAL",
        "synchronous=FULL",
        f"journal_size_limit={_LOG_BYTES}",
        "fullfsync=1",
        "busy_timeout=5000",
    ):
        connection.execute(f"PRAGMA {pragma}").close()
    return connection


def unreadable(error: sqlite3.Error) -> ClipServeError:
    """UnknownCollection where the collection was deleted, else Unavailable."""
    if "no such table: items_" in str(error):
        return UnknownCollection("the collection was deleted meanwhile", param="collection")
    return Unavailable(f"the record of the index service can't be read: {error}")
