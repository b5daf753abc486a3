"""The record of background jobs: one SQLite file, so that a restarted gateway goes on where it stopped.

`shared_store.py` keeps the same in a database that gateways share.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import orjson

from clip_core.errors import UnknownJob
from clipserve_client.sources.files import Stamp
from clipserve_client.sources.planning import Known
from gateway.database.record import Record, Transaction
from gateway.database.sqlite import SqliteRecord
from gateway.jobs.schema import prepare

UNFINISHED = ("queued", "running")
IN = ("added", "unchanged")
_SHORT_URLS = 4096  # characters of JSON: so many URLs are shown with their job
_PAGE = 500
_NOTES_OF_A_KIND = 20


def now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds").replace("+00:00", "Z")


@dataclass(frozen=True)
class Job:
    """`pass_`: how often its source was begun to be read; `seconds`: time spent running; JSON as text.

    `key`: the id of the API key whose work it is; None: a call without a key.
    """

    id: str
    collection: str
    source: str
    state: str
    total: int | None
    pass_: int
    seconds: float
    message: str | None
    error: str | None
    created: str
    finished: str | None
    key: str | None


@dataclass(frozen=True)
class Outcome:
    """Of one entry; `error` is the envelope as JSON, `known` what to remember. `again`: its id was there before."""

    item: str
    outcome: str
    reason: str = ""
    error: str | None = None
    known: Known | None = None
    notes: tuple[str, ...] = ()
    again: bool = False


@dataclass(frozen=True)
class SetAside:
    """An entry that is not in; `place` orders them."""

    place: int
    item: str
    outcome: str
    reason: str
    error: str


_KNOWN = ("job", "path", "size", "mtime_ns", "digest", "about")
_REMEMBER = (
    "INSERT INTO sent VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (collection, item) DO UPDATE SET "
    + ", ".join(f"{name} = excluded.{name}" for name in _KNOWN)
)
Counts = dict[str, dict[str, int]]  # outcome → reason → how many
_COLUMNS = ", ".join(field.name.rstrip("_") for field in fields(Job))


class JobLost(Exception):
    """The job was ended elsewhere, or is another gateway's by now: whoever works on it stops."""


class JobStore:
    """Safe to use from several threads."""

    _freed = ""  # what else is set of a job that nobody works on any more

    def __init__(self, record: Record, path: Path | None = None) -> None:
        self._record, self._rows, self.path = record, record.rows, path

    @classmethod
    def in_file(cls, path: Path) -> JobStore:
        """The file is made with the first job, not before."""
        return cls(SqliteRecord(path, prepare), path)

    def close(self) -> None:
        """For good."""
        self._record.close()

    def add(self, collection: str, source: dict[str, Any], key: str | None) -> Job:
        """URLs get rows of their own: a job never holds them all."""
        job_id, urls = uuid.uuid4().hex, source.get("urls") or []
        shown = source
        if urls and len(orjson.dumps(urls)) > _SHORT_URLS:
            shown = {name: value for name, value in source.items() if name != "urls"} | {"urls_total": len(urls)}
        values = (job_id, collection, orjson.dumps(shown).decode(), now(), key)
        rows = ((job_id, place, _url_entry(each)) for place, each in enumerate(urls))
        with self._record.transaction() as db:
            db.execute("INSERT INTO jobs VALUES (?, ?, ?, 'queued', NULL, 0, 0, NULL, NULL, ?, NULL, ?)", values)
            db.executemany("INSERT INTO urls VALUES (?, ?, ?)", rows)
        return self.get(job_id)

    def get(self, job_id: str) -> Job:
        """Raises UnknownJob."""
        found = self._rows(f"SELECT {_COLUMNS} FROM jobs WHERE id = ?", job_id)
        if not found:
            raise UnknownJob(f"there is no job {job_id[:64]!r}", param="job_id")
        return Job(*found[0])

    def page(self, after: str | None = None, limit: int = 100) -> list[Job]:
        """Newest first, those before the job `after`."""
        where = "" if after is None else "WHERE rowid < (SELECT rowid FROM jobs WHERE id = ?)"
        query = f"SELECT {_COLUMNS} FROM jobs {where} ORDER BY rowid DESC LIMIT ?"
        return [Job(*row) for row in self._rows(query, *([] if after is None else [after]), limit)]

    def unfinished(self) -> list[str]:
        """Ids, oldest first."""
        return [row[0] for row in self._rows("SELECT id FROM jobs WHERE state IN (?, ?) ORDER BY rowid", *UNFINISHED)]

    def urls(self, job_id: str) -> Iterator[dict[str, Any]]:
        """`{"url", "id", "metadata"}` of each, in order."""
        place = -1
        query = "SELECT place, entry FROM urls WHERE job = ? AND place > ? ORDER BY place LIMIT ?"
        while found := self._rows(query, job_id, place, _PAGE):
            yield from (orjson.loads(entry) for _, entry in found)
            place = found[-1][0]

    def update(self, job_id: str, **values: Any) -> None:
        """Set columns by name. This and all below that write are for the work on a job: they raise JobLost."""
        names = ", ".join(f"{name} = ?" for name in values)
        with self._working_on(job_id) as db:
            db.execute(f"UPDATE jobs SET {names} WHERE id = ?", (*values.values(), job_id))

    def cancel(self, job_id: str) -> bool:
        """False when it has ended already."""
        ended = f"UPDATE jobs SET state = 'cancelled', finished = ?, message = NULL{self._freed} WHERE id = ?"
        with self._record.transaction() as db:
            return db.execute(f"{ended} AND state IN (?, ?)", (now(), job_id, *UNFINISHED)).rowcount > 0

    def retry(self, job_id: str, key: str | None) -> bool:
        """Queue it again as the work of `key`. False when it is queued or runs already."""
        again = f"UPDATE jobs SET state = 'queued', error = NULL, finished = NULL, key = ?{self._freed} WHERE id = ?"
        with self._record.transaction() as db:
            return db.execute(f"{again} AND state NOT IN (?, ?)", (key, job_id, *UNFINISHED)).rowcount > 0

    def begin_pass(self, job_id: str) -> Job:
        """The source is read from its start."""
        with self._working_on(job_id) as db:
            db.execute("UPDATE jobs SET state = 'running', pass = pass + 1 WHERE id = ?", (job_id,))
        return self.get(job_id)

    def recount(self, job_id: str) -> None:
        """Before the first batch of a pass: items that were counted, and whose names were let go, come again."""
        in_ = (job_id, *IN)
        with self._working_on(job_id) as db:
            named = "SELECT 1 FROM results WHERE job = ? AND outcome IN (?, ?) LIMIT 1"
            if not db.execute(named, in_).fetchone():
                db.execute("DELETE FROM counts WHERE job = ? AND outcome IN (?, ?)", in_)

    def advance(self, job: Job, collection: str, outcomes: Sequence[Outcome], seconds: float) -> None:
        """One batch, whole or not at all. `collection`: which one it is, dropped and made again or not."""
        with self._working_on(job.id) as db:
            for each in outcomes:
                _record(db, job, each)
            known = [(collection, each.item, job.id, each.known) for each in outcomes if each.known is not None]
            rows = [(*about, known.path, *known.stamp, known.digest, known.about) for *about, known in known]
            db.executemany(_REMEMBER, rows)
            db.execute("UPDATE jobs SET seconds = seconds + ?, message = NULL WHERE id = ?", (seconds, job.id))

    def end_pass(self, job: Job) -> None:
        """What was set aside earlier and is no longer in the source is no failure any more."""
        gone = "job = ? AND pass < ? AND (nth > 0 OR outcome NOT IN (?, ?))"
        values = (job.id, job.pass_, *IN)
        with self._working_on(job.id) as db:
            gone_by = f"SELECT outcome, reason, count(*) FROM results WHERE {gone} GROUP BY 1, 2"
            for outcome, reason, n in db.execute(gone_by, values).fetchall():
                _count(db, job.id, outcome, reason, -n)
            db.execute(f"DELETE FROM results WHERE {gone}", values)

    def let_go(self, job_id: str) -> None:
        """Of a job with nothing left to try again only the counts are kept."""
        with self._working_on(job_id) as db:
            db.execute("DELETE FROM results WHERE job = ?", (job_id,))
            db.execute("DELETE FROM urls WHERE job = ?", (job_id,))

    def forget_earlier(self, name: str, collection: str) -> None:
        """Collections of this name that were dropped."""
        with self._record.transaction() as db:
            values = (f"{name} ", f"{name}!", collection)
            db.execute("DELETE FROM sent WHERE collection >= ? AND collection < ? AND collection != ?", values)

    def counts(self, job_id: str) -> Counts:
        """Of the outcomes added, unchanged, skipped and failed; `noted`: what was done to items."""
        told: Counts = {}
        for outcome, reason, n in self._rows("SELECT outcome, reason, n FROM counts WHERE job = ? AND n > 0", job_id):
            told.setdefault(outcome, {})[reason] = n
        return told

    def set_aside(self, job_id: str, after: int = -1, limit: int = 100, outcome: str | None = None) -> list[SetAside]:
        """In the order of setting aside."""
        query = (
            "SELECT place, item, outcome, reason, error FROM results WHERE job = ? AND place > ? "
            "AND outcome IN ('failed', 'skipped') AND coalesce(outcome = ?, TRUE) ORDER BY place LIMIT ?"
        )
        return [SetAside(*row) for row in self._rows(query, job_id, after, outcome, limit)]

    def seen(self, job: Job, item: str) -> bool:
        """Whether an entry of this id came before, in this reading of the source."""
        return bool(
            self._rows("SELECT 1 FROM results WHERE job = ? AND item = ? AND pass = ?", job.id, item, job.pass_)
        )

    def is_in(self, job_id: str, item: str) -> bool:
        """Whether the job itself put it in, or found it there."""
        query = "SELECT 1 FROM results WHERE job = ? AND item = ? AND nth = 0 AND outcome IN (?, ?)"
        return bool(self._rows(query, job_id, item, *IN))

    def known(self, collection: str, item: str) -> Known | None:
        query = "SELECT path, size, mtime_ns, digest, about FROM sent WHERE collection = ? AND item = ?"
        found = self._rows(query, collection, item)
        return Known(found[0][0], Stamp(*found[0][1:3]), *found[0][3:]) if found else None

    def knows_more(self, collection: str, job_id: str) -> bool:
        """Whether the collection has something that the job's results don't tell: of another job, or let go."""
        query = (
            "SELECT 1 FROM sent WHERE collection = ? "
            "AND (job != ? OR NOT EXISTS (SELECT 1 FROM results WHERE job = ?)) LIMIT 1"
        )
        return bool(self._rows(query, collection, job_id, job_id))

    @contextmanager
    def _working_on(self, job_id: str) -> Iterator[Transaction]:
        """For the work on a job that was not ended meanwhile: a thread of one that is cancelled may come late."""
        with self._record.transaction() as db:
            if not db.execute("SELECT 1 FROM jobs WHERE id = ? AND state IN (?, ?)", (job_id, *UNFINISHED)).fetchone():
                raise JobLost(job_id)
            yield db


def _url_entry(entry: str | Mapping[str, Any]) -> str:
    return orjson.dumps({"url": entry} if isinstance(entry, str) else entry).decode()


def _record(db: Transaction, job: Job, told: Outcome) -> None:
    nth = 0
    if told.again:
        last = "SELECT max(nth) FROM results WHERE job = ? AND item = ? AND pass = ?"
        nth = (db.execute(last, (job.id, told.item, job.pass_)).fetchone()[0] or 0) + 1
    before = db.execute(
        "SELECT outcome, reason FROM results WHERE job = ? AND item = ? AND nth = ?", (job.id, told.item, nth)
    ).fetchone()
    now_: tuple[str, str] = (told.outcome, told.reason)
    if now_[0] == "unchanged" and before is not None and before[0] == "added":
        now_ = before
    db.execute(
        "INSERT INTO results (job, item, nth, outcome, reason, error, pass) VALUES (?, ?, ?, ?, ?, ?, ?) "
        "ON CONFLICT (job, item, nth) DO UPDATE SET "
        "outcome = excluded.outcome, reason = excluded.reason, error = excluded.error, pass = excluded.pass",
        (job.id, told.item, nth, *now_, told.error, job.pass_),
    )
    if before != now_:
        _count(db, job.id, now_[0], now_[1], 1)
        if before is not None:
            _count(db, job.id, before[0], before[1], -1)
    for note in told.notes:
        _count(db, job.id, "noted", _counted_as(db, job.id, note), 1)


def _counted_as(db: Transaction, job_id: str, note: str) -> str:
    """The note itself, such as `sidecar not read: a.json`; its kind alone once so many others of this kind are counted:
    a job of a million files has a row for each kind, not for each file.
    """
    kind = note.partition(":")[0]
    if kind == note:
        return note
    like = "job = ? AND outcome = 'noted' AND substr(reason, 1, ?) = ?"
    query = f"SELECT count(*), sum(CASE WHEN reason = ? THEN 1 ELSE 0 END) FROM counts WHERE {like}"
    told, same = db.execute(query, (note, job_id, len(kind) + 1, f"{kind}:")).fetchone()
    return note if same or told < _NOTES_OF_A_KIND else kind


def _count(db: Transaction, job_id: str, outcome: str, reason: str, n: int) -> None:
    db.execute(
        "INSERT INTO counts VALUES (?, ?, ?, ?) "
        "ON CONFLICT (job, outcome, reason) DO UPDATE SET n = counts.n + excluded.n",
        (job_id, outcome, reason, n),
    )


def total(counts: Counts, outcomes: Iterable[str] = ("added", "unchanged", "skipped", "failed")) -> int:
    """How many had one of these outcomes."""
    return sum(sum(counts.get(outcome, {}).values()) for outcome in outcomes)
