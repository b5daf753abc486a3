"""The tables of the record, and how older ones are brought up to date.

Version 1 had no aliases and no sources, version 2 no metrics: every score was a cosine. Such a record is
brought up to date in one transaction when it is opened.
"""

from __future__ import annotations

import sqlite3

SCHEMA_VERSION = 3
PAGE_BYTES = 16384  # seven rows of 512 dimensions fit into a page; into one of 4096 bytes fits one, and half is wasted
_COLLECTIONS = """
CREATE TABLE collections (
    key INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE, model TEXT NOT NULL, fingerprint TEXT NOT NULL,
    dim INTEGER NOT NULL, engine TEXT NOT NULL, recall_target REAL, metadata BLOB NOT NULL, created TEXT NOT NULL,
    metric TEXT NOT NULL DEFAULT 'cosine'
) STRICT
"""
_ALIASES = "CREATE TABLE aliases (name TEXT PRIMARY KEY, key INTEGER NOT NULL, previous INTEGER) STRICT"
_ITEMS = """
CREATE TABLE items_{key} (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, vector BLOB NOT NULL, metadata BLOB NOT NULL,
    source BLOB
) STRICT
"""


def version(db: sqlite3.Connection) -> int:
    """0 for a new file."""
    return int(db.execute("PRAGMA user_version").fetchone()[0])


def migrate(db: sqlite3.Connection) -> None:
    """Bring a record of any older version up to `SCHEMA_VERSION`; the caller holds a transaction."""
    before = version(db)
    if before == 0:
        db.execute(_COLLECTIONS)
    if before < 2:
        db.execute(_ALIASES)
        for (key,) in db.execute("SELECT key FROM collections").fetchall():
            db.execute(f"ALTER TABLE items_{key} ADD COLUMN source BLOB")
    if 0 < before < 3:
        db.execute("ALTER TABLE collections ADD COLUMN metric TEXT NOT NULL DEFAULT 'cosine'")
    db.execute(f"PRAGMA user_version={SCHEMA_VERSION}")


def create_items(db: sqlite3.Connection, key: int) -> None:
    """The table of one collection's items."""
    db.execute(_ITEMS.format(key=key))
