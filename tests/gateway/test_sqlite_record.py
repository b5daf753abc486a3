"""A SQLite file of the gateway whose first opening fails."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from gateway.database.sqlite import SqliteRecord


def test_tables_that_could_not_be_made_are_made_by_the_next_call(tmp_path: Path) -> None:
    tried: list[int] = []

    def prepare(database: sqlite3.Connection) -> None:
        tried.append(1)
        if len(tried) == 1:
            raise sqlite3.OperationalError("database or disk is full")
        database.execute("CREATE TABLE t (n INTEGER)")

    with closing(SqliteRecord(tmp_path / "a.db", prepare)) as record:
        with pytest.raises(sqlite3.OperationalError, match="full"), record.transaction():
            pass
        with record.transaction() as database:
            database.execute("INSERT INTO t VALUES (1)")
        assert record.rows("SELECT n FROM t") == [(1,)]
