"""What long work says while it runs: a line that moves on a terminal, a line every 30 s in a log."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table

LINE_EVERY_S = 30.0
_WORTH_AN_END_S = 10.0
Clock = Callable[[], float]


class Step:
    """One piece of work, measured by its bytes (`total`) or against an estimate of its seconds (`expected_s`)."""

    def __init__(
        self, title: str, expected_s: float | None = None, total: int | None = None, clock: Clock = time.monotonic
    ) -> None:
        self.title = title
        self.done = 0
        self._expected_s, self._total, self._clock = expected_s, total, clock
        self._started, self._resumed_at = clock(), 0

    def resume(self, done: int) -> None:
        """So much was there already: it does not count into the rate."""
        self.done = self._resumed_at = done

    def advance(self, more: int) -> None:
        self.done += more

    @property
    def seconds(self) -> float:
        return self._clock() - self._started

    @property
    def share(self) -> float | None:
        """From 0 to 1; None where nobody knows."""
        whole = self._total if self._total is not None else self._expected_s
        part = self.done if self._total is not None else self.seconds
        return min(1.0, part / whole) if whole else None

    @property
    def status(self) -> str:
        """How far it is, and the time left."""
        return self._of_bytes(self._total) if self._total is not None else self._of_time()

    def _of_bytes(self, total: int) -> str:
        rate = (self.done - self._resumed_at) / max(self.seconds, 1e-3)
        left = f", {clock_time((total - self.done) / rate)} left" if rate > 0 else ""
        return f"{self.done / 1e6:.1f} of {total / 1e6:.1f} MB, {rate / 1e6:.1f} MB/s{left}"

    def _of_time(self) -> str:
        passed = clock_time(self.seconds)
        if self._expected_s is None:
            return passed
        left = self._expected_s - self.seconds
        return f"{passed}, about {clock_time(left)} left" if left > 0 else f"{passed}, longer than expected"


class WorkProgress:
    """Says lines, and shows one step at a time."""

    def __init__(self, console: Console, line_every_s: float = LINE_EVERY_S, clock: Clock = time.monotonic) -> None:
        self._console, self._line_every_s, self._clock = console, line_every_s, clock

    def say(self, text: str) -> None:
        self._console.print(text, highlight=False, markup=False, soft_wrap=True)

    @contextmanager
    def step(
        self, title: str, *, expected_s: float | None = None, total: int | None = None, cost: str = ""
    ) -> Iterator[Step]:
        """`title` and what the step costs are said before it starts, and how long it took at the end."""
        step = Step(title, expected_s, total, self._clock)
        if cost or not self._console.is_terminal:
            self.say(f"{title}: {cost}" if cost else title)
        shown = self._moving if self._console.is_terminal else self._lines
        with shown(step):
            yield step
        if self._console.is_terminal or step.seconds >= _WORTH_AN_END_S:
            self.say(f"{title}: done in {clock_time(step.seconds)}")

    @contextmanager
    def _moving(self, step: Step) -> Iterator[None]:
        with Live(console=self._console, get_renderable=lambda: _drawn(step), refresh_per_second=2, transient=True):
            yield

    @contextmanager
    def _lines(self, step: Step) -> Iterator[None]:
        ended = threading.Event()
        threading.Thread(target=self._repeat, args=(step, ended), daemon=True).start()
        try:
            yield
        finally:
            ended.set()

    def _repeat(self, step: Step, ended: threading.Event) -> None:
        while not ended.wait(self._line_every_s):
            self.say(f"{step.title}: {step.status}")


SILENT = WorkProgress(Console(quiet=True))


def _drawn(step: Step) -> RenderableType:
    line = Table.grid(padding=(0, 1))
    share = step.share
    bar = ProgressBar(total=1.0, completed=share or 0.0, width=24, pulse=share is None)
    line.add_row(step.title, bar, step.status)
    return line


def clock_time(seconds: float) -> str:
    """1:05 for 65 seconds, 1:00:05 for an hour and five."""
    minutes, rest = divmod(max(0, round(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
