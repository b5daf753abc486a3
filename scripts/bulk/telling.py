"""What a run says: shards and items a second, and the time left; at the end a table."""

from __future__ import annotations

import time

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

from clipserve_client.sources.walking import readable
from scripts.bulk.run import Ended, OnProgress
from scripts.bulk.shards.shard import Done
from scripts.progress import LINE_EVERY_S, clock_time

_SHOWN, _LONGEST = 10, 200  # lines, characters of an id


class BulkProgress(OnProgress):
    """Moves on a terminal; a line every 30 s in a log."""

    def __init__(self, console: Console) -> None:
        self._console = console
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
        )
        self._moving = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
        self._task = self._moving.add_task("shards", total=None, rate="")
        self._began = self._said = time.monotonic()
        self._todo = self._ended = self._items = 0

    def __enter__(self) -> BulkProgress:
        self._moving.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._moving.stop()

    def planned(self, shards: int, done: int) -> None:
        self._todo, self._began, self._said = shards - done, time.monotonic(), time.monotonic()
        again = f", {done} of them done before" if done else ""
        self._moving.console.print(f"{shards} shard{'s' * (shards != 1)}{again}", highlight=False)
        self._moving.update(self._task, total=shards, completed=done)

    def shard(self, done: Done) -> None:
        if not self._ended:  # the start of processes and models is no rate
            self._began = max(self._began, time.monotonic() - done.seconds)
        self._ended += 1
        self._items += done.rows + done.bad
        self._moving.update(self._task, advance=1, rate=self._rate())
        if done.error:
            what = "is not done:" if done.again else "is not whole:"
            self._moving.console.print(
                f"[yellow]shard {done.number:05} {what}[/yellow] {escape(readable(done.error))}",
                highlight=False,
                soft_wrap=True,
            )
        if not self._console.is_terminal and time.monotonic() - self._said >= LINE_EVERY_S:
            self._said = time.monotonic()
            self._console.print(f"{self._ended} of {self._todo} shards, {self._rate()}", highlight=False)

    def _rate(self) -> str:
        seconds = max(time.monotonic() - self._began, 1e-3)
        left = (self._todo - self._ended) * seconds / self._ended
        return f"{self._items / seconds:,.1f} items a second, {clock_time(left)} left"


def conclude(ended: Ended, out: str, console: Console) -> None:
    told = ended.totals
    table = Table("what", "why", "items", title_justify="left")
    table.add_row("vectors", "", f"{told.rows:,}")
    for code, number in told.codes.items():
        table.add_row("not embedded", escape(code), f"{number:,}")
    console.print(table)
    did = f"{told.new_rows:,} vectors in {clock_time(told.seconds)}, {told.rate:,.1f} a second"
    console.print(f"{did}; {escape(out)}/summary.html", highlight=False, soft_wrap=True)
    if told.bad:
        console.print(f"what is not embedded is named in {escape(out)}/bad.parquet", highlight=False, soft_wrap=True)
    if ended.collection:
        console.print(f"collection {escape(ended.collection)}", highlight=False)
    for each in ended.refused[:_SHOWN]:
        why = escape(readable(f"{each.id[:_LONGEST]}: {each.message or each.code}"))
        console.print(f"[yellow]refused[/yellow] {why}", highlight=False, soft_wrap=True)
    for name, error in ended.damaged[:_SHOWN]:
        console.print(f"[yellow]shard {name}[/yellow] {escape(readable(error))}", highlight=False, soft_wrap=True)
    if ended.duplicates is not None:
        same, near = ended.duplicates
        console.print(
            f"{same} groups of the same content and {near} of near vectors are in {escape(out)}/duplicates.parquet"
        )
    if ended.again:
        console.print(f"[red]{len(ended.again)} shards are not done[/red]: the same command tries them again")
