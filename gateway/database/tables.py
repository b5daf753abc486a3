"""The tables of one part of the gateway, in the database that gateways share or in a file of its own."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from gateway.database.postgres import Postgres
from gateway.database.record import Record, Transaction
from gateway.database.sqlite import SqliteRecord


class SharedTables:
    """Tables of a Postgres, made when they are first needed. Every method may raise DatabaseUnavailable."""

    def __init__(self, database: Postgres, part: str, version: int, tables: Sequence[str]) -> None:
        self._database = database
        self._tables = part, version, tables

    def transaction(self) -> AbstractContextManager[Transaction]:
        self._database.prepare(*self._tables)
        return self._database.transaction()

    def rows(self, query: str, *values: Any) -> list[Any]:
        self._database.prepare(*self._tables)
        return self._database.rows(query, *values)

    def close(self) -> None:
        """Who made the database closes it: others use it, too."""


def one_table(database: Postgres | None, file: Path, part: str, table: str) -> Record:
    """A part with one table, whose statement (`CREATE TABLE IF NOT EXISTS …`) both databases understand."""
    if database is not None:
        return SharedTables(database, part, 1, (table,))

    def prepare(connection: sqlite3.Connection) -> None:
        connection.execute(table)

    return SqliteRecord(file, prepare)
