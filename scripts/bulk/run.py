"""A whole run: plan, encode what is not done, send, report."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pyarrow import parquet

from scripts.bulk.duplicates import report_duplicates
from scripts.bulk.errors import BulkFailed, BulkRefused
from scripts.bulk.job import BulkJob
from scripts.bulk.layouts import BadItems
from scripts.bulk.model import FoundArchive
from scripts.bulk.output import Output, write_text
from scripts.bulk.planning import Planner
from scripts.bulk.runners import Runner
from scripts.bulk.sending import Sender
from scripts.bulk.shards import Done, Shard
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


class OnProgress:
    """What is told while it runs; each does nothing here."""

    def planned(self, shards: int, done: int) -> None: ...

    def shard(self, done: Done) -> None: ...


def run_bulk(
    asked: BulkRequest, runner: Runner, progress: OnProgress, sender: Callable[[Output], Sender] | None
) -> Ended:
    """Raises BulkRefused, BulkFailed and SourceError. Whenever it ends, the same command goes on."""
    output = Output(asked.job.out)
    if sender is not None and asked.job.layout != "parquet":
        raise BulkRefused("a collection is filled from the layout parquet: leave out --layout, or --collection")
    if asked.dedupe is not None and asked.job.layout != "parquet":
        raise BulkRefused("--dedupe reads the layout parquet: leave out --layout")
    with output.locked():
        output.begin(asked.about())
        output.sweep()
        shards = Planner(output, asked.job.storage, asked.shard_items).plan(asked.sources)
        return _Run(asked, output, shards, progress, sender(output) if sender is not None else None).run(runner)


class _Run:
    def __init__(
        self, asked: BulkRequest, output: Output, shards: list[Shard], progress: OnProgress, sender: Sender | None
    ) -> None:
        self._asked, self._output, self._shards = asked, output, shards
        self._progress, self._sender = progress, sender
        self._again: list[Done] = []

    def run(self, runner: Runner) -> Ended:
        todo = [shard for shard in self._shards if not self._is_done(shard)]
        self._progress.planned(len(self._shards), len(self._shards) - len(todo))
        began, new_rows = time.monotonic(), 0
        if self._sender is not None:
            for shard in self._shards:
                if self._is_done(shard):
                    self._sender.send(shard)
        for done in runner.run(self._asked.job, todo) if todo else ():
            new_rows += self._ended(done)
        return self._conclude(time.monotonic() - began, new_rows)

    def _is_done(self, shard: Shard) -> bool:
        done = self._output.read_done(shard)
        return done is not None and done.version == shard.version

    def _ended(self, done: Done) -> int:
        """Raises BulkFailed when no shard can be done any more."""
        if done.fatal:
            raise BulkFailed(f"{done.error}; once that is mended, the same command goes on")
        self._progress.shard(done)
        shard = self._shards[done.number]
        if not self._is_done(shard):
            self._again.append(done)
        elif self._sender is not None:
            self._sender.send(shard)
        return done.rows

    def _conclude(self, seconds: float, new_rows: int) -> Ended:
        done = [each for shard in self._shards if (each := self._output.read_done(shard)) is not None]
        self._collect_bad()
        told = totals(done, len(self._shards), seconds, new_rows)
        damaged = [(f"{each.number:05}", each.error) for each in [*done, *self._again] if each.error]
        found = None
        extra: dict[str, object] = {}
        if self._asked.dedupe is not None:
            found = report_duplicates(self._asked.job.out, self._shards, self._asked.dedupe)
            extra["duplicates"] = f"{found[0]:,} groups of the same content, {found[1]:,} of near vectors"
        if self._sender is not None:
            extra["collection"] = (
                f"{self._sender.name}: {self._sender.sent:,} sent, {len(self._sender.failed):,} refused"
            )
        about = {"sources": list(self._asked.sources), **self._asked.about()}
        write_text(self._output.folder / "summary.html", page(about, told, damaged, extra))
        return Ended(told, self._again, damaged, found)

    def _collect_bad(self) -> None:
        """`bad.parquet`: those of all shards, in their order."""
        collected = BadItems(self._output.folder / "bad.parquet")
        try:
            for rows in self._bad():
                collected.add(rows)
            collected.close()
        except BaseException:
            collected.abandon()
            raise

    def _bad(self) -> Iterator[list[tuple[str, str, str, str]]]:
        for shard in self._shards:
            path = self._output.bad(shard)
            if path.exists():
                rows = parquet.read_table(path).to_pylist()
                yield [(row["shard"], row["id"], row["code"], row["message"]) for row in rows]
