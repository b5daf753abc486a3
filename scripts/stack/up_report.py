"""What `clipserve up` says while it runs: on the console, and in `up.log`."""

from __future__ import annotations

import logging

from rich.console import Console
from rich.markup import escape

from clip_core.logs import JsonFormatter, TextFormatter
from scripts.processes.rotated_log import RotatedLog


class Report:
    """Lines about parts that end and start again, and why `up` itself ends."""

    def __init__(self, console: Console, *, json_lines: bool) -> None:
        self._console = console
        self._log: RotatedLog | None = None
        self._formatter = JsonFormatter("up") if json_lines else TextFormatter("up")

    def open(self, log: RotatedLog) -> None:
        """Write to `log`, too, from now on."""
        self._log = log

    def say(self, text: str) -> None:
        """How a long piece of work goes."""
        self._say("[dim]building[/dim]", logging.INFO, text)

    def notice(self, text: str) -> None:
        """Something that the operator should know; the stack goes on."""
        self._say("[yellow]notice[/yellow]", logging.WARNING, text)

    def error(self, text: str) -> None:
        """Why the stack ends."""
        self._say("[red]error[/red]", logging.ERROR, text)

    def _say(self, label: str, level: int, text: str) -> None:
        self._console.print(f"{label} {escape(text)}", highlight=False)
        if self._log is not None:
            record = logging.LogRecord("scripts.stack.lifecycle", level, __file__, 0, text, None, None)
            self._log.write(self._formatter.format(record).encode() + b"\n")
