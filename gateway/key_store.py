"""The file of API keys: SQLite, holding digests only. `clipserve keys` writes it, the gateway reads it.

A key is `cs_ID_SECRET`: ID finds its row, SECRET is 256 random bits, so a plain SHA-256 cannot be searched and a slow
hash would protect nothing more. The whole key is seen once, by whoever creates it.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from clip_core.errors import NotFound
from gateway.keys import ApiKey, KeyLimits, check_scopes

_TABLE = """CREATE TABLE IF NOT EXISTS keys (
    id TEXT PRIMARY KEY, name TEXT NOT NULL, digest BLOB NOT NULL, scopes TEXT NOT NULL, collections TEXT,
    created REAL NOT NULL, expires REAL, revoked REAL, limits TEXT NOT NULL
)"""
_COLUMNS = "id, name, scopes, collections, created, expires, revoked, limits"
_PREFIX = "cs"


def digest(key: str) -> bytes:
    """(32,) bytes of SHA-256."""
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()


class KeyStore:
    """The keys of one file, which appears with the first of them."""

    def __init__(self, path: Path) -> None:
        self.path = path

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
        with self._writing() as connection:
            connection.execute("INSERT INTO keys VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", _row(key, digest(secret)))
        return secret, key

    def revoke(self, key_id: str) -> None:
        """For good. Raises NotFound."""
        with self._writing() as connection:
            statement = "UPDATE keys SET revoked = coalesce(revoked, ?) WHERE id = ?"
            if connection.execute(statement, (time.time(), key_id)).rowcount == 0:
                raise NotFound(f"there is no key {key_id!r}; `clipserve keys list` shows them")

    def all(self) -> list[tuple[ApiKey, bytes]]:
        """Every key with its digest, oldest first, the expired and revoked ones too."""
        if not self.path.exists():
            return []
        with self._reading() as connection:
            rows = connection.execute(f"SELECT {_COLUMNS}, digest FROM keys ORDER BY created").fetchall()
        return [(_key(row[:-1]), row[-1]) for row in rows]

    def version(self) -> tuple[int, int, int] | None:
        """Changes with every write; None while there is no file."""
        try:
            seen = self.path.stat()
        except OSError:
            return None
        return seen.st_ino, seen.st_mtime_ns, seen.st_size

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(self.path, os.O_CREAT | os.O_RDWR, 0o600))
        connection = sqlite3.connect(self.path, timeout=10)
        try:
            with connection:
                connection.execute(_TABLE)
                yield connection
        finally:
            connection.close()

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        connection = sqlite3.connect(f"{self.path.resolve().as_uri()}?mode=ro", uri=True, timeout=1)
        try:
            yield connection
        finally:
            connection.close()


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


def _key(row: tuple[object, ...]) -> ApiKey:
    key_id, name, scopes, collections, created, expires, revoked, limits = row
    return ApiKey(
        str(key_id),
        str(name),
        tuple(json.loads(str(scopes))),
        None if collections is None else tuple(json.loads(str(collections))),
        float(str(created)),
        None if expires is None else float(str(expires)),
        None if revoked is None else float(str(revoked)),
        KeyLimits.of(json.loads(str(limits))),
    )
