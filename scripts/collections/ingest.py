"""Pictures of a folder or of files → a collection, with a progress bar, a table of what happened, and a report."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from clipserve_client import Client, FolderOptions, Result, Tally, ingest_paths
from clipserve_client.folder.folder import plan_paths
from scripts.collections.folder_captions import llm_cost
from scripts.collections.picture_folder import show_from

_SHOWN = 20  # names


class Rate(ProgressColumn):
    """Items a second."""

    def render(self, task: Task) -> Text:
        return Text("" if task.speed is None else f"{task.speed:.1f} a second", style="progress.data.speed")


def ingest(client: Client, paths: Sequence[Path], collection: str, options: FolderOptions, console: Console) -> Tally:
    """Raises ClientError and KeyboardInterrupt, after what came until then was shown."""
    tally, skipped = Tally(), list[Result]()
    named = {os.path.realpath(path): path for path in paths if path.is_dir()}
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), Rate(), TimeRemainingColumn())
    try:
        with Progress(*columns, console=console) as progress:
            task = progress.add_task(f"ingest {collection}", total=None)

            def told(result: Result) -> None:
                tally.count(result)
                if len(skipped) < _SHOWN and result.outcome == "skipped" and is_told_by_name(result.code):
                    skipped.append(result)
                progress.advance(task)

            ingest_paths(
                client,
                paths,
                collection,
                options,
                on_begin=lambda total: progress.update(task, total=total),
                on_result=told,
                on_folder=lambda folder: show_from(client, named.get(folder, Path(folder)), collection, options.prefix),
            )
    finally:
        show(tally, console, skipped)
    return tally


def show_plan(client: Client, paths: Sequence[Path], collection: str, options: FolderOptions, console: Console) -> None:
    """What `ingest` would send, and what captions by the language model would cost. Raises ClientError."""
    plan = plan_paths(client, paths, collection, options)
    console.print(
        f"{plan.sent} items would be sent to {collection}; {plan.unchanged} are unchanged, {plan.skipped} are left out",
        highlight=False,
    )
    if options.caption == "llm":
        console.print(llm_cost(client, plan.captioned), highlight=False)


def is_told_by_name(reason: str) -> bool:
    """Whether skipped files are named. Those that are no pictures are only counted."""
    return not reason.startswith("not a picture")


def show(tally: Tally, console: Console, skipped: Sequence[Result] = ()) -> None:
    """One row for each outcome and its reason, and the first that are not in by name, with their messages."""
    table = Table("outcome", "reason", "files", title_justify="left")
    for outcome, reason, number in _rows(tally):
        table.add_row(outcome, reason, f"{number}")
    if table.row_count:
        console.print(table)
    for note, number in sorted(tally.noted.items()):
        console.print(f"[dim]{note}:[/dim] {number}", highlight=False)
    named = sum(number for reason, number in tally.skipped.items() if is_told_by_name(reason))
    _name(skipped, named, "[dim]skipped[/dim]", console)
    _name(tally.failed, len(tally.failed), "[yellow]not ingested[/yellow]", console)


def _name(results: Sequence[Result], total: int, outcome: str, console: Console) -> None:
    for result in results[:_SHOWN]:
        console.print(f"{outcome} {escape(result.id)}: {escape(result.message or result.code)}", highlight=False)
    if total > _SHOWN:
        console.print(f"… and {total - _SHOWN} more; --report FILE names all", highlight=False)


def _rows(tally: Tally) -> list[tuple[str, str, int]]:
    failed = Counter(result.code for result in tally.failed)
    rows = [
        ("added", "", tally.added),
        ("unchanged", "", tally.unchanged),
        *(("skipped", reason, number) for reason, number in tally.skipped.most_common()),
        *(("[red]failed[/red]", code, number) for code, number in failed.most_common()),
    ]
    return [row for row in rows if row[2]]
