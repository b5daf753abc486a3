"""A PostgreSQL that several gateways share, through psycopg's pool. Ours are the tables of the schema `clipserve`."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg_pool import ConnectionPool, PoolTimeout

from clip_core.errors import DatabaseUnavailable
from gateway.away import AwayMemory

_SCHEMA = "clipserve"
_AWAY = (psycopg.OperationalError, psycopg.InterfaceError, psycopg.InternalError, psycopg.ProgrammingError)
_MOST_CONNECTIONS = 8
_PATIENCE_S = 2.0  # for a connection
_BRIEFLY_S = 0.1  # while it is away: enough where it is back
_LIMITS: dict[str, Any] = {  # a peer that went away without a word is noticed
    "connect_timeout": 2,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 5000,
}
_SESSION = "SET search_path = clipserve; SET statement_timeout = '10s'; SET lock_timeout = '5s'; SET timezone = 'UTC'"


class Postgres:
    """Connects when it is first asked. Every method may block, and raises DatabaseUnavailable.

    Once nobody got a connection within `patience_s`, the next ones hardly wait, until somebody gets one.
    """

    def __init__(self, url: str, patience_s: float = _PATIENCE_S) -> None:
        self._pool = ConnectionPool(
            make_conninfo(url, **{**_LIMITS, "application_name": "clipserve-gateway"}),
            kwargs={"autocommit": False},
            min_size=0,
            max_size=_MOST_CONNECTIONS,
            open=False,
            configure=_configure,
            timeout=patience_s,
            reconnect_timeout=patience_s,  # else its pauses grow to minutes
            max_waiting=64,
            name="clipserve",
        )
        self._patience_s, self._away, self._answered = patience_s, AwayMemory(), -math.inf
        self._lock = threading.Lock()
        self._opened, self._prepared = False, set[str]()
        logging.getLogger("psycopg.pool").setLevel(logging.ERROR)  # we say it ourselves, once

    def close(self) -> None:
        self._pool.close(timeout=1)

    @contextmanager
    def transaction(self) -> Iterator[PostgresTransaction]:
        with self._lock:
            if not self._opened:
                self._pool.open()
                self._opened = True
        try:
            with self._pool.connection(_BRIEFLY_S if self._away else self._patience_s) as connection:
                yield PostgresTransaction(connection)
            self._away.forget()
            self._answered = time.monotonic()
        except _AWAY as error:
            if isinstance(error, PoolTimeout) and not self._busy():
                self._away.note()
            with suppress(psycopg.OperationalError):
                self._pool.check()  # the other connections may be as stale
            raise DatabaseUnavailable(f"the gateways' database does not answer: {_cause(error)}") from error

    def _busy(self) -> bool:
        """Whether all connections are just in use: one of them has done its work meanwhile."""
        return time.monotonic() - self._answered < self._patience_s

    def rows(self, query: str, *values: Any) -> list[Any]:
        with self.transaction() as database:
            return database.execute(query, values).fetchall()

    def prepare(self, part: str, version: int, tables: Sequence[str]) -> None:
        """Make the tables of this part where they are missing. Raises DatabaseUnavailable about newer ones."""
        if part in self._prepared:
            return
        with self.transaction() as database:
            database.execute("SELECT pg_advisory_xact_lock(7238213)")  # two gateways may start at once
            database.execute(f"CREATE SCHEMA IF NOT EXISTS {_SCHEMA}")
            database.execute("CREATE TABLE IF NOT EXISTS versions (part TEXT PRIMARY KEY, version INTEGER NOT NULL)")
            found = database.execute("SELECT version FROM versions WHERE part = ?", (part,)).fetchone()
            if found is not None and found[0] > version:
                raise DatabaseUnavailable(
                    f"the {part} of the gateways' database are of a newer clipserve: start that one"
                )
            if found is None:
                for statement in tables:
                    database.execute(statement)
                database.execute("INSERT INTO versions VALUES (?, ?)", (part, version))
        self._prepared.add(part)


class PostgresTransaction:
    """A connection that takes statements written for SQLite, too."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection

    def execute(self, statement: str, values: Sequence[Any] = (), /) -> psycopg.Cursor[Any]:
        return self._connection.execute(_translated(statement), tuple(map(_storable, values)))

    def executemany(self, statement: str, values: Iterable[Sequence[Any]], /) -> None:
        rows = [tuple(map(_storable, row)) for row in values]
        with self._connection.cursor() as cursor:
            cursor.executemany(_translated(statement), rows)


def check_database_url(url: str) -> None:
    """Raises ValueError that says what is wrong with it, without its password; connects to nothing."""
    if not url:
        return
    try:
        ports = str(conninfo_to_dict(url).get("port", "")).split(",")  # of several servers
        good = url.startswith(("postgresql://", "postgres://")) and all(port.isdigit() for port in ports if port)
    except psycopg.Error:
        good = False
    if not good:
        raise ValueError(
            "is no PostgreSQL URL: write postgresql://USER:PASSWORD@HOST:5432/NAME, special characters as %XX"
        )


def _configure(connection: psycopg.Connection[Any]) -> None:
    connection.execute(_SESSION)
    connection.commit()


def _translated(statement: str) -> Any:
    return statement.replace("?", "%s")


def _storable(value: Any) -> Any:
    """PostgreSQL's texts hold neither NUL nor half a surrogate pair, as names of files may."""
    if isinstance(value, str):
        return value.replace("\0", "\\x00").encode("utf-8", "backslashreplace").decode()
    return value


def _cause(error: Exception) -> str:
    """Its first line. psycopg names host and port, never a password."""
    return str(error).strip().partition("\n")[0][:200] or type(error).__name__
