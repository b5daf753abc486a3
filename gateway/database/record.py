"""What the stores of the gateway need of a database: SQLite in one file, or a PostgreSQL that gateways share.

Statements are written once, with `?` for values, in the SQL that both understand.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

from clip_core.errors import DatabaseUnavailable

FAULTS = (OSError, sqlite3.Error, DatabaseUnavailable)  # of any record: it is damaged, away, or its disk is full


class Cursor(Protocol):
    @property
    def rowcount(self) -> int: ...

    def fetchone(self) -> Any: ...

    def fetchall(self) -> list[Any]: ...


class Transaction(Protocol):
    """Whole or not at all."""

    def execute(self, statement: str, values: Sequence[Any] = (), /) -> Cursor: ...

    def executemany(self, statement: str, values: Iterable[Sequence[Any]], /) -> Any: ...


class Record(Protocol):
    """Any thread may use it."""

    def transaction(self) -> AbstractContextManager[Transaction]: ...

    def rows(self, query: str, *values: Any) -> list[Any]: ...

    def close(self) -> None: ...
