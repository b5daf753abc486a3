"""The rows of one collection's table: what each write does, inside a transaction of the record."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from index_service.record.records import PatchedRow, StoredItem, WrittenRows

_IDS = 1000  # in one question; SQLite takes at most 32766


def upsert(db: sqlite3.Connection, key: int, items: Sequence[StoredItem]) -> WrittenRows:
    """Write `items`, whose ids differ."""
    replaced = seqs_of(db, key, [item.id for item in items])
    delete(db, key, replaced)
    first = last_seq(db, key) + 1
    db.executemany(
        f"INSERT INTO items_{key} (seq, id, vector, metadata, source) VALUES (?,?,?,?,?)",
        ((seq, *item) for seq, item in enumerate(items, first)),
    )
    return WrittenRows(first, np.array(replaced, np.int64))


def seqs_of(db: sqlite3.Connection, key: int, ids: Sequence[str]) -> list[int]:
    """The sequence numbers of those of `ids` that there are, ascending."""
    found: set[int] = set()
    for some in batches(ids):
        found.update(seq for (seq,) in db.execute(f"SELECT seq FROM items_{key} WHERE id IN ({places(some)})", some))
    return sorted(found)


def batches(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    """As many ids as go into one question."""
    return (ids[start : start + _IDS] for start in range(0, len(ids), _IDS))


def places(ids: Sequence[str]) -> str:
    """A question mark for each of `ids`."""
    return ",".join("?" * len(ids))


def patch(db: sqlite3.Connection, key: int, rows: Sequence[PatchedRow]) -> int:
    """Give rows other metadata and the next sequence numbers; the first of these."""
    first = last_seq(db, key) + 1
    db.executemany(
        f"UPDATE items_{key} SET seq = ?, metadata = ? WHERE seq = ?",
        ((seq, row.metadata, row.seq) for seq, row in enumerate(rows, first)),
    )
    db.execute("UPDATE sqlite_sequence SET seq = ? WHERE name = ?", (first + len(rows) - 1, f"items_{key}"))
    return first


def delete(db: sqlite3.Connection, key: int, seqs: Iterable[int]) -> None:
    """Delete the rows of these sequence numbers."""
    db.executemany(f"DELETE FROM items_{key} WHERE seq = ?", ((seq,) for seq in seqs))


def last_seq(db: sqlite3.Connection, key: int) -> int:
    """The largest sequence number ever given out; 0 when none was."""
    rows = db.execute("SELECT seq FROM sqlite_sequence WHERE name = ?", (f"items_{key}",)).fetchall()
    return int(rows[0][0]) if rows else 0
