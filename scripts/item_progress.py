"""How many items are done, and the time left: a bar that moves on a terminal, a line every 30 s in a log."""

from __future__ import annotations

import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from scripts.progress import LINE_EVERY_S, Clock, clock_time


class ItemProgress:
    """`total` is None where nobody knows it."""

    def __init__(self, console: Console, title: str, total: int | None, clock: Clock = time.monotonic) -> None:
        self._console, self._title, self._total, self._clock = console, title, total, clock
        time_column = TimeElapsedColumn() if total is None else TimeRemainingColumn()
        columns = (TextColumn(title), BarColumn(), MofNCompleteColumn(), time_column)
        self._moving = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
        self._task = self._moving.add_task(title, total=total)
        self._began = self._said = clock()
        self._done = 0

    def __enter__(self) -> ItemProgress:
        self._moving.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._moving.stop()

    def advance(self, more: int) -> None:
        self._done += more
        self._moving.update(self._task, advance=more)
        if not self._console.is_terminal and self._clock() - self._said >= LINE_EVERY_S:
            self._said = self._clock()
            self._console.print(f"{self._title}: {self._status()}", highlight=False)

    def _status(self) -> str:
        if self._total is None or not self._done:
            return f"{self._done:,}"
        left = (self._total - self._done) * (self._clock() - self._began) / self._done
        return f"{self._done:,} of {self._total:,}, {clock_time(left)} left"
