"""`clipserve model list`: what is served, as a table."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table

from clip_core.errors import TorchServeUnavailable
from gateway.models.rows import ModelRow
from scripts.costs import gigabytes
from scripts.models.canary import canary
from scripts.models.management import Management
from scripts.models.memory import resident
from scripts.models.row_store import by_kind

_COLUMNS = ("model", "endpoints", "state", "fingerprint", "dim", "precision", "workers", "memory")
_WIDEST = 160  # characters; a message why a model is not ready may be longer, and is wrapped


def table(torchserve: Management, rows: Sequence[ModelRow]) -> Table:
    """A line a model, the default first. Memory is the workers' proportional set size."""
    shown = Table(*_COLUMNS)
    for place, row in enumerate(rows):
        name = f"{row.name} (default)" if place == 0 else row.name
        shown.add_row(name, "\n".join(by_kind(row).values()), *_facts(torchserve, row), *_memory(torchserve, row))
    return shown


def show(console: Console, listed: Table) -> None:
    """Names and fingerprints are not cut off: in a narrow terminal, or in none, lines are longer than it is wide."""
    needed = Measurement.get(console, console.options.update(width=_WIDEST), listed).maximum
    console.width = max(console.width, min(needed, _WIDEST))
    console.print(listed, soft_wrap=True)


def _facts(torchserve: Management, row: ModelRow) -> tuple[str, ...]:
    try:
        answer = torchserve.predict(row.text, {**canary("text"), "describe": True})
    except TorchServeUnavailable as error:
        return error.message, "–", "–", "–"
    precision = (answer.get("facts") or {}).get("precision", "–")
    return "ready", str(answer["fingerprint"]), str(answer["dim"]), str(precision)


def _memory(torchserve: Management, row: ModelRow) -> tuple[str, str]:
    try:
        pids = [pid for endpoint in by_kind(row).values() for pid in torchserve.worker_pids(endpoint)]
    except TorchServeUnavailable:
        return "–", "–"
    sizes = [size for pid in pids if (size := resident(pid)) is not None]
    return str(len(pids)), gigabytes(sum(sizes)) if sizes else "–"
