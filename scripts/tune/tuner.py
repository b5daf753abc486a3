"""`clipserve bench tune`: an endpoint's pass size, then the endpoint under load with one choice after another.

TorchServe runs alone, on free ports, with the archive's files and the trial's model-config.yaml; the embedding cache is
off. The winner goes to `archive/<model>/<kind>.yaml`, whose keys override `archive/common/<kind>.yaml`.
"""

from __future__ import annotations

import signal
import statistics
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from clip_core.cores import available_cores
from scripts.archive.build import build
from scripts.archive.mar_files import unpacked
from scripts.archive.places import ARCHIVE_DIR, endpoint_config
from scripts.tune import device_batch
from scripts.tune.choices import Choice, Trial, pick, search
from scripts.tune.load import alternate, together
from scripts.tune.requests import requests
from scripts.tune.trial_server import serving


@dataclass(frozen=True)
class Effort:
    """`clients` at once for `seconds`, after `alone` lone requests."""

    clients: int = 32
    seconds: float = 5.0
    alone: int = 40


def tune(model: str, kind: str, effort: Effort, p99_limit_ms: float, console: Console) -> tuple[Trial, list[Trial]]:
    """The best trial and all of them. Raises BadModel or StackStartError; a SIGTERM ends it with TorchServe stopped."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    with tempfile.TemporaryDirectory(prefix="clipserve-tune-") as temporary:
        store = Path(temporary) / "archives"
        console.print(f"building the archives of {model}")
        mar = next(path for path in build(model, model_store=store) if path.stem == f"clip_{kind}")
        with unpacked(mar) as directory:
            trials = _trials(directory, kind, effort, p99_limit_ms, console)
    return pick(trials, p99_limit_ms), trials


def _trials(directory: Path, kind: str, effort: Effort, p99_limit_ms: float, console: Console) -> list[Trial]:
    config = yaml.safe_load((directory / "model-config.yaml").read_text(encoding="utf-8"))
    cores, bodies, trials = available_cores(), requests(kind), []
    start = _with_device_batch(Choice.of(config, cores), directory, console)
    with Progress(console=console, transient=True) as progress:
        bar = progress.add_task(f"clip_{kind}", total=len(list(_most(start, cores))))

        def measure(choice: Choice) -> Trial:
            progress.update(bar, description=f"clip_{kind} {_label(choice)}")
            return _measure(directory, kind, config, choice, bodies, effort)

        for trial in search(start, cores, measure, p99_limit_ms):
            trials.append(trial)
            progress.advance(bar)
    return trials


def _with_device_batch(start: Choice, directory: Path, console: Console) -> Choice:
    """`start` with the pass size that the towers alone run best at, which holds under any load."""
    rates = device_batch.measure(directory)
    best = device_batch.pick(rates)
    console.print(f"max_batch {best}: " + ", ".join(f"{size} → {rate:.1f}/s" for size, rate in rates.items()))
    return replace(start, max_batch=best)


def _most(start: Choice, cores: int) -> Iterator[Trial]:
    """As many trials as a search can take, without making them."""
    return search(start, cores, lambda choice: Trial(choice, 1.0, 1.0, float(choice.batch_size == 1), 0), 1.0)


def _measure(
    directory: Path, kind: str, config: dict[str, Any], choice: Choice, bodies: list[Any], effort: Effort
) -> Trial:
    with serving(directory, kind, config | choice.keys()) as url:
        together(url, bodies, effort.clients, 1.0)
        (alone,) = alternate([(url, bodies[: effort.alone])], keep=False)
        load = together(url, bodies, effort.clients, effort.seconds)
    return Trial(choice, load.rate, load.p99, statistics.median(alone.latencies), load.errors + alone.errors)


def show(trials: list[Trial], best: Trial, p99_limit_ms: float, console: Console) -> None:
    table = Table("threads", "batch", "delay ms", "requests/s", "p99 ms", "alone ms", "errors", "")
    for trial in sorted(trials, key=lambda trial: -trial.rate):
        choice, late = trial.choice, trial.p99_ms > p99_limit_ms
        note = "[green]best[/green]" if trial is best else "[red]p99 over the limit[/red]" if late else ""
        figures = (f"{trial.rate:.1f}", f"{trial.p99_ms:.1f}", f"{trial.alone_ms:.1f}", str(trial.errors))
        table.add_row(
            f"{choice.workers} × {choice.threads}", str(choice.batch_size), str(choice.delay_ms), *figures, note
        )
    console.print(table)


def _label(choice: Choice) -> str:
    return f"{choice.workers}×{choice.threads} threads, batch {choice.batch_size}, {choice.delay_ms} ms"


def write(model: str, kind: str, best: Trial, archive_dir: Path = ARCHIVE_DIR) -> Path:
    """Put what differs from the common settings into the model's own file, whose other keys stay."""
    path = archive_dir / model / f"{kind}.yaml"
    own = yaml.safe_load(path.read_text(encoding="utf-8")) if path.exists() else None
    common = endpoint_config(kind, archive_dir / "common" / "none")
    tuned = best.choice.keys()
    kept = {key: value for key, value in (own or {}).items() if key not in tuned}
    changed = {key: value for key, value in tuned.items() if common.get(key) != value}
    head = "# Over archive/common; the keys of workers, threads and batches are written by `clipserve bench tune`.\n"
    path.write_text(head + (yaml.safe_dump(kept | changed, sort_keys=False) if kept | changed else "{}\n"))
    return path
