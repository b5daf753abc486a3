"""Captions that were paid for, by the digest of what was asked: the same picture is never billed twice."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

from gateway.database.postgres import Postgres
from gateway.database.record import FAULTS, Record
from gateway.database.tables import one_table

_TABLE = "CREATE TABLE IF NOT EXISTS captions (digest TEXT PRIMARY KEY, text TEXT NOT NULL, by TEXT NOT NULL)"
_KEEP = """
INSERT INTO captions VALUES (?, ?, ?) ON CONFLICT (digest) DO UPDATE SET text = excluded.text, by = excluded.by
"""
_log = logging.getLogger("gateway.assistant")


class KeptCaptions:
    """In the database that gateways share, else in a file, which appears with the first caption.

    Where the database is away or the file is damaged, nothing is kept.
    """

    def __init__(self, file: Path, database: Postgres | None = None) -> None:
        self._record: Record = one_table(database, file, "captions", _TABLE)
        self._before = [] if database is None else [one_table(None, file, "captions", _TABLE)]  # of before the database

    async def get(self, digest: str) -> tuple[str, str] | None:
        """A caption, and the model that wrote it."""
        return await asyncio.to_thread(self._get, digest)

    async def put(self, digest: str, text: str, by: str) -> None:
        await asyncio.to_thread(self._put, digest, text, by)

    def close(self) -> None:
        for record in (self._record, *self._before):
            record.close()

    def _get(self, digest: str) -> tuple[str, str] | None:
        for record in (self._record, *self._before):
            try:
                rows = record.rows("SELECT text, by FROM captions WHERE digest = ?", digest)
            except FAULTS as error:
                _log.warning("kept captions can't be read: %s", error)
                continue
            if rows:
                return str(rows[0][0]), str(rows[0][1])
        return None

    def _put(self, digest: str, text: str, by: str) -> None:
        try:
            with self._record.transaction() as database:
                database.execute(_KEEP, (digest, text, by))
        except FAULTS as error:
            _log.warning("a caption could not be kept, and may be paid for again: %s", error)
