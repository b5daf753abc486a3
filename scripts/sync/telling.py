"""What a sync says: progress with rate and time left, a line for each change, a table, a report."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from clipserve_client.folder.report import ReportFailed
from clipserve_client.sources.walking import readable
from scripts.collections.ingest import Rate
from scripts.progress import LINE_EVERY_S, clock_time
from scripts.sync.changes import Change, Summary
from scripts.sync.run import Watcher

_SHOWN = 20  # names
_ROWS = ("added", "changed", "moved", "removed", "unchanged", "kept", "skipped", "failed")
_NAMED = ("added", "changed", "moved", "removed")


class Telling(Watcher):
    """`names`: every change by name, as in a dry run. With it as a context, the report is written to its end."""

    def __init__(
        self,
        console: Console,
        title: str,
        report: Path | None,
        names: bool,
        on_first: Callable[[], object],
    ) -> None:
        self._console, self._title, self._names, self._on_first = console, title, names, on_first
        self._report_path = report
        self._progress = Progress(
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), Rate(), TimeRemainingColumn(),
            console=console, transient=True, disable=not console.is_terminal,
        )  # fmt: skip
        self._task = self._progress.add_task(title, total=None)
        self._problems: list[Change] = []
        self._was_first = False
        self._pending = self._done = 0
        self._began = self._said = time.monotonic()
        self._report: IO[str] | None = None

    def __enter__(self) -> Telling:
        """Raises ReportFailed."""
        if self._report_path is not None:
            try:
                self._report_path.parent.mkdir(parents=True, exist_ok=True)
                self._report = self._report_path.open("w", encoding="utf-8", errors="backslashreplace")
            except OSError as error:
                raise self._failed(error) from error
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()
        if self._report is not None:
            try:
                self._report.close()
            except OSError as error:
                raise self._failed(error) from error

    def compared(self, pending: int) -> None:
        self._pending, self._began, self._said = pending, time.monotonic(), time.monotonic()
        self._done = 0
        self._progress.reset(self._task, total=pending)

    def changed(self, change: Change) -> None:
        self._write(change)
        if change.did in ("skipped", "failed"):
            if len(self._problems) < _SHOWN and not change.code.startswith("not a picture"):
                self._problems.append(change)
        elif self._names and change.did in (*_NAMED, "kept"):
            was = f"  [dim]was {escape(readable(change.was))}[/dim]" if change.was else ""
            line = f"{change.did:<8} {escape(readable(change.id))}{was}"
            self._progress.console.print(line, highlight=False, soft_wrap=True)
        if self._pending and change.did in ("added", "changed", "moved", "failed", "skipped"):
            self._advance()

    def is_in(self) -> None:
        if not self._was_first:
            self._was_first = True
            self._on_first()

    def _advance(self) -> None:
        self._done += 1
        self._progress.advance(self._task)
        now = time.monotonic()
        if not self._console.is_terminal and now - self._said >= LINE_EVERY_S:
            self._said, rate = now, self._done / max(now - self._began, 1e-3)
            left = clock_time(max(self._pending - self._done, 0) / rate)
            self._console.print(
                f"{self._title}: {self._done} of {self._pending}, {rate:.1f} a second, {left} left", highlight=False
            )

    def _write(self, change: Change) -> None:
        if self._report is None or change.did == "unchanged":
            return
        try:
            self._report.write(json.dumps(change.line(), ensure_ascii=False) + "\n")
        except OSError as error:
            raise self._failed(error) from error

    def _failed(self, error: OSError) -> ReportFailed:
        return ReportFailed(f"the report {self._report_path} can't be written: {error.strerror}")

    def conclude(self, summary: Summary, dry_run: bool) -> None:
        table = Table("would be" if dry_run else "what", "why", "pictures", title_justify="left")
        for did in _ROWS:
            reasons = [(code, number) for (each, code), number in summary.reasons.most_common() if each == did]
            rest = summary.counts[did] - sum(number for _, number in reasons)
            for code, number in [("", rest)] * bool(rest) + reasons:
                table.add_row(did, escape(code), f"{number}")
        if table.row_count:
            self._console.print(table)
        else:
            nothing = "the source has no pictures, and the collection has none that came from it: nothing to do"
            self._console.print(f"{escape(self._title)}: {nothing}", highlight=False, soft_wrap=True)
        for change in self._problems:
            why = escape(readable(f"{change.id}: {change.message or change.code}"))
            self._console.print(f"[yellow]{change.did}[/yellow] {why}", highlight=False)
        if summary.reused:
            self._console.print(f"vectors taken over instead of computed again: {summary.reused}")
        if summary.refused:
            self._console.print(f"[red]nothing removed[/red]: {summary.refused}", highlight=False, soft_wrap=True)
