"""The record of background jobs in a database that gateways share. A job is leased: one gateway works on it.

A gateway renews its leases. One that dies, or cannot reach the database, loses them after `LEASE_S`, and another
gateway goes on with the job. Every write about a job's work makes sure, in its own transaction, that the job is still
leased to this gateway: one that was only slow changes nothing.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager

from gateway.database.postgres import Postgres
from gateway.database.record import Transaction
from gateway.database.tables import SharedTables
from gateway.jobs.store import UNFINISHED, JobLost, JobStore

LEASE_S = 10.0
_TABLES = (
    """CREATE TABLE jobs (
        id TEXT PRIMARY KEY, collection TEXT NOT NULL, source TEXT NOT NULL, state TEXT NOT NULL, total BIGINT,
        pass INTEGER NOT NULL, seconds DOUBLE PRECISION NOT NULL, message TEXT, error TEXT, created TEXT NOT NULL,
        finished TEXT, key TEXT,
        rowid BIGINT GENERATED ALWAYS AS IDENTITY UNIQUE, owner TEXT, lease TIMESTAMPTZ
    )""",
    "CREATE INDEX jobs_unfinished ON jobs (rowid) WHERE state IN ('queued', 'running')",
    """CREATE TABLE urls (
        job TEXT NOT NULL, place BIGINT NOT NULL, entry TEXT NOT NULL, PRIMARY KEY (job, place)
    )""",
    """CREATE TABLE results (
        place BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, job TEXT NOT NULL, item TEXT NOT NULL,
        nth BIGINT NOT NULL, outcome TEXT NOT NULL, reason TEXT NOT NULL, error TEXT, pass INTEGER NOT NULL,
        UNIQUE (job, item, nth)
    )""",
    "CREATE INDEX set_aside ON results (job, place) WHERE outcome IN ('failed', 'skipped')",
    """CREATE TABLE counts (
        job TEXT NOT NULL, outcome TEXT NOT NULL, reason TEXT NOT NULL, n BIGINT NOT NULL,
        PRIMARY KEY (job, outcome, reason)
    )""",
    # ranges of names are compared byte by byte, as SQLite does it
    """CREATE TABLE sent (
        collection TEXT COLLATE "C" NOT NULL, item TEXT NOT NULL, job TEXT NOT NULL, path BYTEA NOT NULL,
        size BIGINT NOT NULL, mtime_ns BIGINT NOT NULL, digest TEXT NOT NULL, about TEXT NOT NULL,
        PRIMARY KEY (collection, item)
    )""",
)
_UNTIL = "clock_timestamp() + make_interval(secs => ?)"


class SharedJobStore(JobStore):
    """Every method may raise DatabaseUnavailable. `lease_s`: how long a job waits for a gateway that died."""

    _freed = ", owner = NULL"

    def __init__(self, database: Postgres, lease_s: float = LEASE_S) -> None:
        super().__init__(SharedTables(database, "jobs", 1, _TABLES))
        self.lease_s = lease_s
        self._owner = uuid.uuid4().hex

    def claim(self) -> str | None:
        """The oldest job that no gateway works on; from now on this one does."""
        free = "state IN (?, ?) AND (owner IS NULL OR lease < clock_timestamp())"
        oldest = f"SELECT id FROM jobs WHERE {free} ORDER BY rowid LIMIT 1 FOR UPDATE SKIP LOCKED"
        found = self._rows(
            f"UPDATE jobs SET owner = ?, lease = {_UNTIL} WHERE id = ({oldest}) RETURNING id",
            *(self._owner, self.lease_s, *UNFINISHED),
        )
        return str(found[0][0]) if found else None

    def renew(self) -> list[str]:
        """Of all jobs that are this gateway's. Gives their ids."""
        renewed = f"UPDATE jobs SET lease = {_UNTIL} WHERE owner = ? AND state IN (?, ?) RETURNING id"
        return [row[0] for row in self._rows(renewed, self.lease_s, self._owner, *UNFINISHED)]

    def release(self) -> None:
        """What is unfinished is for other gateways, at once."""
        with self._record.transaction() as db:
            db.execute("UPDATE jobs SET owner = NULL WHERE owner = ? AND state IN (?, ?)", (self._owner, *UNFINISHED))

    @contextmanager
    def _working_on(self, job_id: str) -> Iterator[Transaction]:
        ours = "SELECT 1 FROM jobs WHERE id = ? AND owner = ? AND state IN (?, ?) FOR UPDATE"
        with self._record.transaction() as db:
            if not db.execute(ours, (job_id, self._owner, *UNFINISHED)).fetchone():
                raise JobLost(job_id)
            yield db
