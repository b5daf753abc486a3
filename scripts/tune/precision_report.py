"""A model in every precision that this machine has, beside open_clip's own towers: speed, cosines and recall."""

from __future__ import annotations

import json
import platform
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from clip_core.cores import available_cores
from scripts.archive.gate_set import GateSet
from scripts.archive.model_source import ModelSource, load
from scripts.archive.precision_choice import compared, fastest, in_order
from scripts.archive.tower_build import Judge, Judged
from scripts.archive.work_folders import work_folder
from scripts.progress import WorkProgress

_COLUMNS = ("precision", "pictures/s", "short texts/s", "least cosine: pictures", "texts", "recall@1", "recall@10", "")


@dataclass(frozen=True)
class PrecisionReport:
    """`rows`: open_clip's own first. `pictures`: what was compared on. `chosen`: what `precision: auto` would take."""

    model: str
    fingerprint: str
    weights: str
    pictures: str
    device: str
    compiled: bool
    machine: str
    torch: str
    rows: list[Judged]
    chosen: str | None

    def markdown(self) -> str:
        compiled = "compiled" if self.compiled else "not compiled"
        head = (
            f"# {self.model}: precisions beside open_clip\n\n"
            f"Weights: {self.weights}; fingerprint {self.fingerprint}. Compared on {self.pictures}.\n"
            f"Towers on {self.device}, {compiled}, batches of 16; {self.machine}, torch {self.torch}.\n\n"
        )
        lines = [_COLUMNS, ("---",) * len(_COLUMNS), *self.table()]
        return head + "".join(f"| {' | '.join(line)} |\n" for line in lines)

    def json(self) -> str:
        return json.dumps(asdict(self), indent=2) + "\n"

    def table(self) -> Iterator[tuple[str, ...]]:
        for row in self.rows:
            last = "chosen by `auto`" if row.precision == self.chosen else row.failed or ""
            found = row.quality
            if found is None:
                yield (row.precision, *("",) * (len(_COLUMNS) - 2), last)
                continue
            rates = (f"{row.images_per_s:.1f}", f"{row.texts_per_s:.1f}")
            cosines = (f"{found.image_cosine:.5f}", f"{found.text_cosine:.5f}")
            yield (row.precision, *rates, *cosines, f"{found.recall_at_1:.3f}", f"{found.recall_at_10:.3f}", last)

    def show(self, console: Console) -> None:
        table = Table(*_COLUMNS)
        for line in self.table():
            table.add_row(*line)
        console.print(table)

    def write(self, path: Path) -> None:
        """As JSON where the name ends so, else as Markdown."""
        path.write_text(self.json() if path.suffix == ".json" else self.markdown(), encoding="utf-8")


def report(source: ModelSource, eval_images: Path | None, work: Path, progress: WorkProgress) -> PrecisionReport:
    """Builds and judges every precision; nothing is packed. `work`: where compiled packages lie meanwhile.

    Raises BadModel.
    """
    loaded = load(source, progress)
    with progress.step("reading pictures and their captions"):
        gate = GateSet.from_directory(eval_images) if eval_images else GateSet.rendered()
    with progress.step("encoding with open_clip in fp32, for comparison"):
        judge = Judge(loaded, gate)
        reference = judge.open_clip()
    with work_folder(work, ".compiling-") as folder:
        directory = folder if source.compile else None
        judged = in_order([row for row, _ in compared(source, loaded, gate, judge, directory, progress)])
    best = fastest(judged)
    return PrecisionReport(
        source.name,
        loaded.fingerprint,
        _weights(loaded.provenance),
        f"{len(gate.images)} {f'pictures of {eval_images.name}' if eval_images else 'rendered scenes'} with captions",
        source.device,
        source.compile,
        f"{_processor()}, {available_cores()} cores",
        torch.__version__,
        [reference, *judged],
        best.precision if best else None,
    )


def _weights(provenance: Any) -> str:
    """Where they are from, as far as it is known."""
    told = [str(value) for value in asdict(provenance).values() if value]
    return ", ".join(told) or "local"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor() or "unknown processor")
