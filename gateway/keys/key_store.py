"""The API keys, digests only: a file of SQLite, or a table of the database that gateways share.

`clipserve keys` writes them, the gateway reads them.

A key is `cs_ID_SECRET`: ID finds its row, SECRET is 256 random bits, so a plain SHA-256 cannot be searched and a slow
hash would protect nothing more. The whole key is seen once, by whoever creates it.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import os
import secrets
import sqlite3
import stat
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeAlias

from pydantic import TypeAdapter

from clip_core.errors import NotFound
from gateway.database.postgres import Postgres
from gateway.database.record import Transaction
from gateway.database.tables import SharedTables
from gateway.keys.api_key import ApiKey, KeyLimits, check_scopes

_TABLE = """CREATE TABLE IF NOT EXISTS keys (
    id TEXT PRIMARY KEY, name TEXT NOT NULL, digest BLOB NOT NULL, scopes TEXT NOT NULL, collections TEXT,
    created REAL NOT NULL, expires REAL, revoked REAL, limits TEXT NOT NULL
)"""
_SHARED_TABLE = """CREATE TABLE keys (
    id TEXT PRIMARY KEY, name TEXT NOT NULL, digest BYTEA NOT NULL, scopes TEXT NOT NULL, collections TEXT,
    created DOUBLE PRECISION NOT NULL, expires DOUBLE PRECISION, revoked DOUBLE PRECISION, limits TEXT NOT NULL
)"""
Version: TypeAlias = tuple[int, int, int] | str | None
_COLUMNS = "id, name, scopes, collections, created, expires, revoked, limits"
_PREFIX = "cs"
_LAST_MOMENT = 253_370_764_800  # the year 9999
_API_KEY = TypeAdapter(ApiKey)
_log = logging.getLogger("gateway.keys.api_key")


def digest(key: str) -> bytes:
    """(32,) bytes of SHA-256."""
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()


class Keys(ABC):
    """The keys of one place. A row is never deleted: a key that was revoked stays known as such."""

    @property
    @abstractmethod
    def place(self) -> str:
        """For people, without secrets."""

    @abstractmethod
    def version(self) -> Version:
        """Changes with every write; None while there is nothing. Of a database, raises DatabaseUnavailable."""

    @abstractmethod
    def is_required(self) -> bool:
        """Whether calls need a key: there is one, or once was."""

    @abstractmethod
    def remember_required(self) -> None:
        """That keys are asked for, where there are any; for a later start, whatever becomes of them meanwhile."""

    @abstractmethod
    def _writing(self) -> AbstractContextManager[Transaction]: ...

    @abstractmethod
    def _read(self, query: str) -> list[tuple[Any, ...]]: ...

    def create(
        self,
        name: str,
        scopes: tuple[str, ...],
        *,
        collections: tuple[str, ...] | None = None,
        expires: float | None = None,
        limits: KeyLimits | None = None,
    ) -> tuple[str, ApiKey]:
        """The secret, which is kept nowhere, and the key. Raises InvalidRequest for an unknown scope."""
        key = ApiKey(
            secrets.token_hex(4),
            name,
            check_scopes(scopes),
            collections,
            time.time(),
            expires,
            None,
            limits or KeyLimits(),
        )
        secret = f"{_PREFIX}_{key.id}_{secrets.token_urlsafe(32)}"
        with self._writing() as transaction:
            transaction.execute("INSERT INTO keys VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", _row(key, digest(secret)))
        return secret, key

    def revoke(self, key_id: str) -> None:
        """For good. Raises NotFound."""
        with self._writing() as transaction:
            statement = "UPDATE keys SET revoked = coalesce(revoked, ?) WHERE id = ?"
            if transaction.execute(statement, (time.time(), key_id)).rowcount == 0:
                raise NotFound(f"there is no key {key_id!r}; `clipserve keys list` shows them")

    def all(self) -> list[tuple[ApiKey, bytes]]:
        """Every key with its digest, oldest first, the expired and revoked ones too; damaged rows are left out."""
        return [kept for _, kept in self.rows() if kept is not None]

    def rows(self) -> list[tuple[str, tuple[ApiKey, bytes] | None]]:
        """The id of every row with its key and digest; None where it is damaged."""
        rows = self._read(f"SELECT {_COLUMNS}, digest FROM keys ORDER BY created")
        return [(str(row[0])[:64], _kept(row)) for row in rows]


class KeyStore(Keys):
    """The keys of one file, which appears with the first of them."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def place(self) -> str:
        return str(self.path)

    def is_required(self) -> bool:
        """Whether there is a key file, or once was: a second file beside it, `keys.db.required`, remembers that."""
        return _may_exist(self.path) or _may_exist(self._marker)

    def remember_required(self) -> None:
        if os.path.exists(self.path):
            with suppress(OSError):  # a folder that may only be read
                self.require()

    def require(self) -> None:
        """Remember that keys are asked for, whatever becomes of the file. Raises OSError."""
        self._marker.touch(mode=0o600)

    @property
    def _marker(self) -> Path:
        return self.path.with_name(self.path.name + ".required")

    def version(self) -> Version:
        try:
            seen = self.path.stat()
        except OSError:
            return None
        return seen.st_ino, seen.st_mtime_ns, seen.st_size

    def _check_regular(self) -> None:
        """Raises OSError: opening a pipe or a device might never end."""
        if not stat.S_ISREG(self.path.stat().st_mode):
            raise OSError(f"{self.path} is no regular file")

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.require()
        if os.path.lexists(self.path):
            self._check_regular()
        os.close(os.open(self.path, os.O_CREAT | os.O_RDWR, 0o600))
        connection = sqlite3.connect(self.path, timeout=10)
        try:
            with connection:
                connection.execute(_TABLE)
                yield connection
        finally:
            connection.close()

    def _read(self, query: str) -> list[tuple[Any, ...]]:
        if not os.path.lexists(self.path):
            return []
        self._check_regular()
        with self._reading() as connection:
            return connection.execute(query).fetchall()

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        connection = sqlite3.connect(f"{self.path.absolute().as_uri()}?mode=ro", uri=True, timeout=1)
        connection.text_factory = lambda text: text.decode("utf-8", "replace")
        try:
            yield connection
        finally:
            connection.close()


class SharedKeys(Keys):
    """The keys of the database that gateways share."""

    place = "the gateways' database"

    def __init__(self, database: Postgres) -> None:
        self._tables = SharedTables(database, "keys", 1, [_SHARED_TABLE])

    def version(self) -> Version:
        """Of what the rows hold, whoever wrote them."""
        return str(self._read("SELECT coalesce(md5(string_agg(keys::text, ',' ORDER BY id)), '') FROM keys")[0][0])

    def is_required(self) -> bool:
        return bool(self._read("SELECT 1 FROM keys LIMIT 1"))

    def remember_required(self) -> None:
        """The rows do."""

    def _writing(self) -> AbstractContextManager[Transaction]:
        return self._tables.transaction()

    def _read(self, query: str) -> list[tuple[Any, ...]]:
        return self._tables.rows(query)


def matches(presented: str, kept: bytes) -> bool:
    """In a time that says nothing about either."""
    return hmac.compare_digest(digest(presented), kept)


def id_of(presented: str) -> str:
    """The ID in `cs_ID_SECRET`, or nothing."""
    prefix, _, rest = presented.partition("_")
    return rest.partition("_")[0] if prefix == _PREFIX else ""


def _row(key: ApiKey, kept: bytes) -> tuple[object, ...]:
    collections = None if key.collections is None else json.dumps(key.collections)
    limits = json.dumps({name: value for name, value in asdict(key.limits).items() if value is not None})
    scopes = json.dumps(key.scopes)
    return (key.id, key.name, kept, scopes, collections, key.created, key.expires, key.revoked, limits)


def _kept(row: tuple[Any, ...]) -> tuple[ApiKey, bytes] | None:
    """None, and a line in the log, for a row that no `clipserve keys` has written."""
    try:
        return _key(row[:-1]), _digest(row[-1])
    except (ValueError, TypeError, RecursionError) as error:
        cause = str(error).partition("\n")[0]
        _log.warning("a damaged row of the key file is left out", extra={"key": str(row[0])[:64], "cause": cause})
        return None


def _key(row: tuple[Any, ...]) -> ApiKey:
    """Raises ValueError or TypeError: a damaged list of collections must not become all of them."""
    key_id, name, scopes, collections, created, expires, revoked, limits = row
    said = {"id": key_id, "name": name, "created": created, "expires": expires, "revoked": revoked}
    said |= {"scopes": json.loads(scopes), "limits": json.loads(limits)}
    said["collections"] = None if collections is None else _listed(json.loads(collections))
    key = _API_KEY.validate_python(said)
    if not all(0 <= moment <= _LAST_MOMENT for moment in (key.created, key.expires, key.revoked) if moment is not None):
        raise ValueError("a time is none")
    if any(limit is not None and limit <= 0 for limit in asdict(key.limits).values()):
        raise ValueError("a limit is not above zero")
    return key


def _listed(collections: object) -> object:
    if not isinstance(collections, list):
        raise TypeError("the collections are no list")
    return collections


def _digest(kept: object) -> bytes:
    if not isinstance(kept, bytes) or len(kept) != hashlib.sha256().digest_size:
        raise ValueError("the digest is none of SHA-256")
    return kept


def _may_exist(path: Path) -> bool:
    """True, too, where it cannot be told."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    return True
