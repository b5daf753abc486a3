"""The tables of the record of jobs, and how records of earlier versions become such tables."""

from __future__ import annotations

import sqlite3

_VERSION = 2
_TABLES = """
CREATE TABLE IF NOT EXISTS jobs (
    id TEXT PRIMARY KEY, collection TEXT NOT NULL, source TEXT NOT NULL, state TEXT NOT NULL, total INTEGER,
    pass INTEGER NOT NULL, seconds REAL NOT NULL, message TEXT, error TEXT, created TEXT NOT NULL, finished TEXT,
    key TEXT
) STRICT;
CREATE TABLE IF NOT EXISTS urls (
    job TEXT NOT NULL, place INTEGER NOT NULL, entry TEXT NOT NULL, PRIMARY KEY (job, place)
) STRICT, WITHOUT ROWID;
-- what became of each item: `nth` counts further entries with the same id, `pass` is when it was last seen
CREATE TABLE IF NOT EXISTS results (
    place INTEGER PRIMARY KEY, job TEXT NOT NULL, item TEXT NOT NULL, nth INTEGER NOT NULL, outcome TEXT NOT NULL,
    reason TEXT NOT NULL, error TEXT, pass INTEGER NOT NULL, UNIQUE (job, item, nth)
) STRICT;
CREATE INDEX IF NOT EXISTS set_aside ON results (job, place) WHERE outcome IN ('failed', 'skipped');
CREATE TABLE IF NOT EXISTS counts (
    job TEXT NOT NULL, outcome TEXT NOT NULL, reason TEXT NOT NULL, n INTEGER NOT NULL,
    PRIMARY KEY (job, outcome, reason)
) STRICT, WITHOUT ROWID;
-- what jobs put into collections, so that it is not sent again while it is unchanged
CREATE TABLE IF NOT EXISTS sent (
    collection TEXT NOT NULL, item TEXT NOT NULL, job TEXT NOT NULL, path BLOB NOT NULL, size INTEGER NOT NULL,
    mtime_ns INTEGER NOT NULL, digest TEXT NOT NULL, about TEXT NOT NULL, PRIMARY KEY (collection, item)
) STRICT, WITHOUT ROWID;
"""


def prepare(db: sqlite3.Connection) -> None:
    db.execute("PRAGMA journal_mode = WAL")
    if db.execute("PRAGMA user_version").fetchone()[0] >= _VERSION:
        return
    with db:
        db.execute("BEGIN IMMEDIATE")
        old = {row[1] for row in db.execute("PRAGMA table_info(jobs)")}
        if "position" in old:
            db.execute("ALTER TABLE jobs RENAME TO old_jobs")
        for statement in _TABLES.split(";"):
            db.execute(statement)
        if "position" in old:
            _convert(db, "key" if "key" in old else "NULL")
        db.execute(f"PRAGMA user_version = {_VERSION}")


def _convert(db: sqlite3.Connection, key: str) -> None:
    """Of version 1, which knew how far a job came and not what it had added: unfinished jobs begin again."""
    db.execute(
        "INSERT INTO jobs SELECT id, collection, source, state, total, 0, seconds, message, error, created, finished, "
        f"{key} FROM old_jobs ORDER BY rowid"
    )
    db.execute("INSERT INTO counts SELECT id, 'added', '', added FROM old_jobs WHERE added > 0")
    if db.execute("SELECT 1 FROM sqlite_master WHERE name = 'failures'").fetchone():
        db.execute(
            "INSERT OR IGNORE INTO results SELECT NULL, job, item, 0, 'failed', "
            "coalesce(json_extract(error, '$.code'), ''), error, 0 FROM failures ORDER BY job, place"
        )
        db.execute("INSERT INTO counts SELECT job, outcome, reason, count(*) FROM results GROUP BY 1, 2, 3")
        db.execute("DROP TABLE failures")
    db.execute(
        "INSERT INTO urls SELECT old_jobs.id, each.key, "
        "iif(each.type = 'text', json_object('url', each.value), each.value) "
        "FROM old_jobs, json_each(old_jobs.source, '$.urls') AS each"
    )
    db.execute("DROP TABLE old_jobs")
