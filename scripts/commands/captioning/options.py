"""Options that the commands which write captions share."""

from __future__ import annotations

from typing import Annotated

import typer

DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what it would cost, and write nothing.")]
Offline = Annotated[bool, typer.Option("--offline", help="By a captioner, not by the language model.")]
MaxCostUsd = Annotated[float | None, typer.Option(min=0, help="Stop before more than this could be spent in this run.")]
TIMEOUT_S = 600.0  # of a request: a captioner on a slow machine takes its time
