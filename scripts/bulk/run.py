"""A whole run: plan, encode what is not done, send, report."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pyarrow
from pyarrow import parquet

from clipserve_client.ingest.results import Result
from scripts.bulk.duplicates import report_duplicates
from scripts.bulk.job import BulkJob
from scripts.bulk.model import FoundArchive
from scripts.bulk.output.layouts import BadItems
from scripts.bulk.output.place import read_all, write_text
from scripts.bulk.output.run_folder import BAD, SUMMARY, Output
from scripts.bulk.planning import LeftOut, Planner
from scripts.bulk.runners import Runner
from scripts.bulk.sending import Sender
from scripts.bulk.shards.errors import BulkFailed, BulkRefused
from scripts.bulk.shards.shard import Done, Shard
from scripts.bulk.summary import Totals, page, totals

_VERSION = 1
Json = dict[str, Any]


@dataclass(frozen=True)
class BulkRequest:
    """`shard_items`: about how many items a shard has where it can be chosen; `dedupe`: least cosine, or None."""

    sources: Sequence[str]
    job: BulkJob
    archive: FoundArchive
    shard_items: int
    dedupe: float | None = None

    def about(self) -> Json:
        """What must be the same whenever the run goes on."""
        spec, job = self.archive.spec, self.job
        model = {"model": spec.name, "fingerprint": spec.fingerprint, "precision": spec.precision, "dim": spec.dim}
        cut = {"embed": job.embed, "layout": job.layout, "batch": job.batch, "shard_items": self.shard_items}
        return {"version": _VERSION, **model, "build": spec.build_key, **cut, "texts": job.texts}


@dataclass
class Ended:
    """`again`: shards that are not done; the same command tries them again."""

    totals: Totals
    again: list[Done]
    damaged: list[tuple[str, str]]
    duplicates: tuple[int, int] | None = None
    collection: str = ""  # what was sent to one
    refused: Sequence[Result] = ()  # items that it has not


class OnProgress:
    """What is told while it runs; each does nothing here."""

    def planned(self, shards: int, done: int) -> None: ...

    def shard(self, done: Done) -> None: ...


def run_bulk(
    asked: BulkRequest, runner: Runner, progress: OnProgress, sender: Callable[[Output], Sender] | None
) -> Ended:
    """Raises BulkRefused, BulkFailed and SourceError. Whenever it ends, the same command goes on."""
    output = Output.at(asked.job.out, asked.job.out_storage)
    if sender is not None and asked.job.layout != "parquet":
        raise BulkRefused("a collection is filled from the layout parquet: leave out --layout, or --collection")
    if asked.dedupe is not None and asked.job.layout != "parquet":
        raise BulkRefused("--dedupe reads the layout parquet: leave out --layout")
    with output.place.locked(), _writable(asked.job.out):
        output.begin(asked.about())
        output.sweep()
        planner = Planner(output, asked.job.storage, asked.shard_items, asked.job.embed)
        shards, sends = planner.plan(asked.sources), sender(output) if sender is not None else None
        return _Run(asked, output, shards, planner.left_out, progress, sends).run(runner)


class _Run:
    def __init__(
        self,
        asked: BulkRequest,
        output: Output,
        shards: list[Shard],
        left_out: Sequence[LeftOut],
        progress: OnProgress,
        sender: Sender | None,
    ) -> None:
        self._asked, self._output, self._shards, self._left_out = asked, output, shards, left_out
        self._progress, self._sender = progress, sender
        self._done = output.read_all_done(shards)
        self._again: list[Done] = []

    def run(self, runner: Runner) -> Ended:
        todo = [shard for shard in self._shards if shard.number not in self._done]
        self._progress.planned(len(self._shards), len(self._shards) - len(todo))
        began, new_rows = time.monotonic(), 0
        if self._sender is not None:
            for number, done in self._done.items():
                self._sender.send(self._shards[number], done)
        for done in runner.run(self._asked.job, todo) if todo else ():
            new_rows += self._ended(done)
        return self._conclude(time.monotonic() - began, new_rows)

    def _ended(self, done: Done) -> int:
        """Raises BulkFailed when no shard can be done any more."""
        if done.fatal:
            raise BulkFailed(f"{done.error}; once that is mended, the same command goes on")
        self._progress.shard(done)
        if done.again:
            self._again.append(done)
            return 0
        self._done[done.number] = done
        if self._sender is not None:
            self._sender.send(self._shards[done.number], done)
        return done.rows

    def _conclude(self, seconds: float, new_rows: int) -> Ended:
        done = [self._done[number] for number in sorted(self._done)]
        self._collect_bad()
        told = totals(done, len(self._shards), seconds, new_rows, [each.code for each in self._left_out])
        damaged = [(f"{each.number:05}", each.error) for each in [*done, *self._again] if each.error]
        found = None
        extra: dict[str, object] = {}
        if self._asked.dedupe is not None:
            found = report_duplicates(self._output, self._shards, self._asked.dedupe)
            extra["duplicates"] = f"{found[0]:,} groups of the same content, {found[1]:,} of near vectors"
        sent = ""
        if self._sender is not None:
            sent = f"{self._sender.name}: {self._sender.sent:,} sent, {len(self._sender.refused):,} refused"
            extra["collection"] = sent
        about = {"sources": list(self._asked.sources), **self._asked.about()}
        write_text(self._output.place, SUMMARY, page(about, told, damaged, extra))
        refused = self._sender.refused if self._sender is not None else ()
        return Ended(told, self._again, damaged, found, sent, refused)

    def _collect_bad(self) -> None:
        """`bad.parquet`: those of all shards, in their order."""
        collected = BadItems(self._output.place, BAD)
        try:
            for rows in self._bad():
                collected.add(rows)
            collected.close()
        except BaseException:
            collected.abandon()
            raise

    def _bad(self) -> Iterator[list[tuple[str, str, str, str]]]:
        yield [("", *each) for each in self._left_out]
        with_bad = [shard for shard in self._shards if shard.number in self._done and self._done[shard.number].bad]
        for content in read_all(self._output.place, map(self._output.bad, with_bad)):
            if content is not None:
                rows = parquet.read_table(pyarrow.BufferReader(content)).to_pylist()
                yield [(row["shard"], row["id"], row["code"], row["message"]) for row in rows]


@contextmanager
def _writable(address: str) -> Iterator[None]:
    """The driver's own files. Raises BulkFailed."""
    try:
        yield
    except OSError as error:
        where, why = error.filename or address, error.strerror or error
        raise BulkFailed(f"{where}: {why}; once that is mended, the same command goes on") from error
