"""How far a long run has come, and how long it still takes, by the time that its steps were planned to take."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn


class Steps:
    """Shown on stderr; stdout is for the report."""

    def __init__(self, planned_s: float, console: Console) -> None:
        columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
        self._progress = Progress(*columns, TextColumn("left"), TimeRemainingColumn(), console=console)
        self._task = self._progress.add_task("start", total=planned_s)
        self._console = console

    def __enter__(self) -> Steps:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    @contextmanager
    def step(self, name: str, planned_s: float) -> Iterator[None]:
        """One that was planned to take so long."""
        self._progress.update(self._task, description=name)
        if not self._console.is_terminal:
            self._console.print(name, highlight=False)
        yield
        self._progress.advance(self._task, planned_s)
