"""Background jobs: a source's entries → a collection, batch by batch, each batch recorded before the next begins."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import logging
import sqlite3
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import orjson

from clip_core.errors import (
    ClipServeError,
    Conflict,
    DatabaseUnavailable,
    NotFound,
    Overloaded,
    Unavailable,
    WorkerLost,
)
from clip_core.old_names.table import OLD_CAPTION_WRITERS
from clip_core.periodic import doubled
from clip_core.tracing.spans import root
from clipserve_client.answers.answers import Limits
from clipserve_client.inputs.inputs import NewItem
from clipserve_client.sources.planning import Known, digest_of
from clipserve_client.sources.spool import Spool
from gateway.ingest.ingester import Ingester
from gateway.ingest.items import CaptionBy, checked_caption, parse_items
from gateway.inputs.parser import InputParser
from gateway.jobs.ownership import Leases, OfAFolder, Ownership
from gateway.jobs.reading import Batch, JobMemory, JobReader
from gateway.jobs.shared_store import SharedJobStore
from gateway.jobs.sources import JobSources, source_kind, told
from gateway.jobs.store import IN, UNFINISHED, Counts, Job, JobLost, JobStore, Outcome, now, total
from gateway.keys.api_key import ApiKey, current_key_id, set_current_key
from gateway.upstream.index_service import IndexServiceClient

_log = logging.getLogger("gateway.jobs")
_LONGEST_PAUSE_S = 30.0
_TRY_AGAIN = (429, 503)
_MOST_LOSSES = 3  # of workers to one batch: one of its items may be the reason
_PAGE = 1000  # ids
SCOPE = "write"
T = TypeVar("T")


class Told(NamedTuple):
    """Of an item; `notes` are what was done to it, or could not be."""

    status: int
    error: dict[str, Any] | None
    notes: tuple[str, ...] = ()


class Jobs:
    """Runs at most `width` jobs at a time. A part that is down is waited for; a bad item is set aside.

    `key_of` finds the key of a job before each batch: a job does what its key may do at that moment, also after a
    restart, and counts against its limits. Raises Unauthorized, which ends the job. `show_folder` is told a collection,
    the prefix of its ids and the folder that a job fills it from.
    """

    def __init__(
        self,
        store: JobStore,
        ingester: Ingester,
        index: IndexServiceClient,
        parser: InputParser,
        sources: JobSources,
        key_of: Callable[[str | None], Awaitable[ApiKey]],
        *,
        limits: Limits,
        batch: int = 32,
        width: int = 1,
        first_pause_s: float = 0.5,
        show_folder: Callable[[str, str, Path], None] = lambda *_: None,
        on_items: Callable[[str, int], None] = lambda *_: None,
        on_end: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._on_items, self._on_end = on_items, on_end
        self.store = store
        self._ingester, self._index, self._parser = ingester, index, parser
        self._sources, self._key_of, self._show_folder = sources, key_of, show_folder
        self._limits, self._batch, self._first_pause_s = limits, batch, first_pause_s
        self._slots = asyncio.Semaphore(width)
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._being_cancelled: set[str] = set()
        self._ownership: Ownership = (
            Leases(store, self._tasks, self._spawn, width, self._being_cancelled)
            if isinstance(store, SharedJobStore)
            else OfAFolder(store, self._spawn)
        )

    @property
    def under_way(self) -> int:
        """Jobs of this gateway that run, or wait for those before them."""
        return sum(not task.done() for task in self._tasks.values())

    async def start(self) -> None:
        """Go on with what an earlier process left unfinished, unless another gateway runs it."""
        await self._ownership.start()

    async def stop(self) -> None:
        """Let go of everything; unfinished jobs stay so in the record."""
        await self._ownership.stop()
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        await self._ownership.release()
        self.store.close()

    async def count(self, source: Mapping[str, Any]) -> int | None:
        """How many entries it has now; None where only reading it would tell. Raises as `submit` does."""
        kind = source_kind(source)

        def counted() -> int | None:
            self._sources.check(source)
            if kind == "urls":
                return len(source["urls"])
            with told(source.get(kind), kind), contextlib.closing(self._sources.open(source, iter(()))) as opened:
                return opened.count()

        return await asyncio.to_thread(counted)

    async def submit(self, collection: str, source: Mapping[str, Any]) -> Job:
        """Raises PathForbidden, NotFound or BadInput about the source, before there is a job; or Conflict."""
        await asyncio.to_thread(self._sources.check, source)
        await self._ownership.before_a_change()
        return await asyncio.shield(self._submit(collection, dict(source)))

    async def _submit(self, collection: str, source: dict[str, Any]) -> Job:
        """To its end, even if the caller leaves: a job of the record has a task."""
        job = await asyncio.to_thread(self.store.add, collection, source, current_key_id())
        self._ownership.queued(job.id)
        return job

    async def cancel(self, job_id: str) -> Job:
        """What is in stays in. Raises UnknownJob, or Conflict when it has ended already."""
        job = await asyncio.to_thread(self.store.get, job_id)
        if job.state not in UNFINISHED:
            raise Conflict(f"the job has ended already ({job.state})")
        await self._ownership.before_a_change()
        return await asyncio.shield(self._cancel(job_id))

    async def _cancel(self, job_id: str) -> Job:
        """To its end, as `_submit`."""
        self._being_cancelled.add(job_id)
        try:
            task = self._tasks.pop(job_id, None)
            if task is not None:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
            if not await asyncio.to_thread(self.store.cancel, job_id):
                raise Conflict("the job has ended meanwhile")
        finally:
            self._being_cancelled.discard(job_id)
        return await asyncio.to_thread(self.store.get, job_id)

    async def retry(self, job_id: str) -> Job:
        """Read the source again: what is in and unchanged is left so, all else is tried.

        Raises UnknownJob or Conflict.
        """
        job = await asyncio.to_thread(self.store.get, job_id)
        counts = await asyncio.to_thread(self.store.counts, job_id)
        if job.state == "completed" and _is_let_go(counts) and source_kind(orjson.loads(job.source)) == "urls":
            raise Conflict("all URLs of this job are in, and it keeps them no longer: begin a new job")
        await self._ownership.before_a_change()
        return await asyncio.shield(self._retry(job_id))

    async def _retry(self, job_id: str) -> Job:
        """To its end, as `_submit`."""
        if not await asyncio.to_thread(self.store.retry, job_id, current_key_id()):
            raise Conflict("the job has not ended yet")
        self._ownership.queued(job_id)
        return await asyncio.to_thread(self.store.get, job_id)

    def _spawn(self, job_id: str) -> None:
        """In a context of its own: the work has neither the deadline nor the id of the request that asked for it."""
        task = contextvars.Context().run(asyncio.create_task, self._in_slot(job_id))
        self._tasks[job_id] = task
        task.add_done_callback(lambda done: self._forget(job_id, done))

    def _forget(self, job_id: str, done: asyncio.Task[None]) -> None:
        if self._tasks.get(job_id) is done:
            del self._tasks[job_id]

    async def _in_slot(self, job_id: str) -> None:
        async with self._slots:
            try:
                state, error = await self._ended(job_id)
                await asyncio.shield(self._record_end(job_id, state, error))
            except JobLost:
                _log.info("the job %s was cancelled elsewhere, or another gateway goes on with it", job_id)
            except DatabaseUnavailable as away:
                _log.warning("the job %s goes on once the database is back: %s", job_id, away.message)
            except sqlite3.Error as error:  # a full disk
                _log.error("the end of the job %s can't be recorded, so a new start goes on with it: %s", job_id, error)

    async def _ended(self, job_id: str) -> tuple[str, ClipServeError | None]:
        """How it ended. Raises JobLost or DatabaseUnavailable where it did not."""
        try:
            await self._run(job_id)
        except (JobLost, DatabaseUnavailable):
            raise
        except ClipServeError as failed:
            return "failed", failed
        except Exception:
            _log.exception("a job failed", extra={"job": job_id})
            return "failed", ClipServeError("the gateway failed on this job; its log has the details")
        return "completed", None

    async def _record_end(self, job_id: str, state: str, error: ClipServeError | None) -> None:
        text = None if error is None else orjson.dumps(error.to_dict()["error"]).decode()
        await asyncio.to_thread(self.store.update, job_id, state=state, error=text, finished=now(), message=None)
        self._on_end(state)

    async def _run(self, job_id: str) -> None:
        job = await asyncio.to_thread(self.store.begin_pass, job_id)
        before = total(await asyncio.to_thread(self.store.counts, job_id))
        asked = orjson.loads(job.source)
        kind = source_kind(asked)
        with told(asked.get(kind), kind):
            source = await asyncio.to_thread(self._sources.open, asked, self.store.urls(job_id))
            present = Spool()
            try:
                await asyncio.to_thread(self.store.update, job_id, total=await asyncio.to_thread(source.count))
                memory = await self._memory(job, _is_forced(asked), present)
                reader = JobReader(
                    self.store,
                    job,
                    source,
                    memory,
                    self._limits,
                    lambda item: self.store.is_in(job_id, item) or present.get(item.encode()) is not None,
                    asked.get("prefix") or "",
                    self._sources.shown,
                )
                with contextlib.closing(reader):
                    seen = await self._read(job, reader, memory.collection, asked)
            finally:
                source.close()
                present.close()
        if before and not seen:
            raise NotFound(f"nothing is left in {asked.get(kind)!r}: is its disk mounted?", param=f"source.{kind}")
        await asyncio.to_thread(self._end, job)

    async def _read(self, job: Job, reader: JobReader, collection: str, asked: Mapping[str, Any]) -> int:
        """How many entries there were. A folder is shown once something of it is in."""
        seen, shown, started = 0, False, time.monotonic()
        while batch := await asyncio.to_thread(reader.next, self._batch):
            outcomes = batch.in_order(batch.settled + await self._add(job, batch))
            seconds, started = time.monotonic() - started, time.monotonic()
            if not seen:
                await asyncio.to_thread(self.store.recount, job.id)
            await asyncio.to_thread(self.store.advance, job, collection, outcomes, seconds)
            seen += len(outcomes)
            if not shown and any(each.outcome in IN for each in outcomes):
                await asyncio.to_thread(self._show, job, asked)
                shown = True
            for outcome, count in Counter(each.outcome for each in outcomes).items():
                self._on_items(outcome, count)
        return seen

    def _show(self, job: Job, asked: Mapping[str, Any]) -> None:
        """The pictures of a folder, from there. Where that can't be noted, its items go in all the same."""
        folder = self._sources.folder(asked)
        if folder is not None:
            try:
                self._show_folder(job.collection, asked.get("prefix") or "", folder)
            except ClipServeError as error:
                _log.warning("the pictures of the job %s are not shown from their folder: %s", job.id, error)

    def _end(self, job: Job) -> None:
        self.store.end_pass(job)
        counts = self.store.counts(job.id)
        self.store.update(job.id, total=total(counts))
        if _is_let_go(counts):
            self.store.let_go(job.id)

    async def _memory(self, job: Job, again: bool, present: Spool) -> JobMemory:
        """What is known of the collection as it is now; ids that its results don't tell are noted in `present`."""
        await self._act_for(job)
        described = await self._patiently(job, lambda: self._index.describe(job.collection))
        name = str(described["name"])
        identity = digest_of([name, described.get("fingerprint"), described.get("created")])
        collection = f"{name} {identity[:16]}"
        await asyncio.to_thread(self.store.forget_earlier, name, collection)
        if not again and await asyncio.to_thread(self.store.knows_more, collection, job.id):
            await self._note_ids(job, present)
        return JobMemory(self.store, job, collection, again)

    async def _note_ids(self, job: Job, present: Spool) -> None:
        after: str | None = None
        while True:
            query = {"limit": _PAGE, "after": after}
            page = await self._patiently(job, partial(self._index.items, job.collection, query))
            await asyncio.to_thread(present.add, [(item["id"].encode(), "") for item in page["items"]])
            after = page.get("next")
            if after is None:
                return

    async def _patiently(self, job: Job, call: Callable[[], Awaitable[T]]) -> T:
        """A part that is down is waited for."""
        failures = 0
        while True:
            try:
                return await call()
            except (Unavailable, Overloaded) as error:
                await asyncio.to_thread(self.store.update, job.id, message=f"waiting: {error.message}")
            await self._pause(failures)
            failures += 1

    async def _add(self, job: Job, batch: Batch) -> list[Outcome]:
        """Each batch is a trace of its own: a job may take days."""
        with root("job batch", attributes={"clipserve.job": job.id, "clipserve.items": len(batch.items)}):
            return await self._added(job, batch)

    async def _added(self, job: Job, batch: Batch) -> list[Outcome]:
        outcomes: list[Outcome] = []
        todo, losses, tries = batch.items, 0, 0
        while todo:
            results = await self._try(job, [item for item, _ in todo])
            answered = list(zip(todo, results, strict=True))
            losses += any(_lost(told.error) for _, told in answered)
            outcomes += [_outcome(*each, told) for each, told in answered if not _will_pass(told, losses)]
            todo = [each for each, told in answered if _will_pass(told, losses)]
            if todo:
                await self._pause(tries)
                tries += 1
        return outcomes

    async def _pause(self, times: int) -> None:
        await asyncio.sleep(doubled(self._first_pause_s, times, _LONGEST_PAUSE_S))

    async def _try(self, job: Job, items: Sequence[NewItem]) -> list[Told]:
        """What became of each; what concerns the key or the collection is raised, what will pass is a status."""
        await self._act_for(job)
        bodies = await asyncio.to_thread(lambda: [item.body() for item in items])
        parsed = parse_items({"items": bodies}, self._parser, len(items))
        captions = wanted_captions(job.source)
        for item in parsed:
            item.caption = captions if item.source is not None and item.source.kind == "image" else None
        try:
            results = await self._ingester.add(job.collection, parsed)
        except (Unavailable, Overloaded) as error:
            results = [{"status": error.status, **error.to_dict()}] * len(items)
        waiting = next((result["error"]["message"] for result in results if result["status"] in _TRY_AGAIN), None)
        if waiting is not None:
            await asyncio.to_thread(self.store.update, job.id, message=f"waiting: {waiting}")
        return [Told(result["status"], result.get("error"), _notes(result)) for result in results]

    async def _act_for(self, job: Job) -> None:
        """From here on as the job's key. Raises Unauthorized, ScopeMissing or CollectionForbidden."""
        key = await self._key_of(job.key)
        key.check_scope(SCOPE)
        key.check_collection(job.collection)
        set_current_key(key)


def _is_let_go(counts: Counts) -> bool:
    """Whether a job that has ended keeps neither names nor URLs: nothing was set aside."""
    return not total(counts, ("failed", "skipped"))


def wanted_captions(source: str) -> CaptionBy | None:
    """By whom, of a job's source as it is recorded, by 0.1 too."""
    by = orjson.loads(source).get("caption")
    return checked_caption(OLD_CAPTION_WRITERS.get(by, by), "caption")


def _notes(result: Mapping[str, Any]) -> tuple[str, ...]:
    return (f"no caption ({result['warning']['code']})",) if "warning" in result else ()


def _outcome(item: NewItem, known: Known | None, told: Told) -> Outcome:
    error = told.error
    if error is None:
        return Outcome(item.id, "added", known=known, notes=item.notes + told.notes)
    return Outcome(item.id, "failed", error["code"], orjson.dumps(error).decode(), notes=item.notes)


def _lost(error: dict[str, Any] | None) -> bool:
    return error is not None and error["code"] == WorkerLost.code


def _is_forced(asked: Mapping[str, Any]) -> bool:
    """Jobs that 0.1 began say `again`."""
    return bool(asked.get("force") or asked.get("again"))


def _will_pass(told: Told, losses: int) -> bool:
    return told.status in _TRY_AGAIN and (losses < _MOST_LOSSES or not _lost(told.error))
