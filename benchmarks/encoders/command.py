"""CLIP's towers: ours in every precision against open_clip, ONNX Runtime and OpenVINO, with the run's own ceiling.

    make bench-encoders

ViT-B/32, then ViT-L/14, with random weights (the speed is that of real ones). Each round runs every candidate once at
each batch size; medians over the rounds; the smallest cosine to open_clip in float32 beside every speed. ViT-L/14 takes
twenty times as long a picture, so it gets fewer rounds, and of ours what the others did not beat. Then the serving side
with a real TorchServe (`serving.py`), and what each precision costs the demo model's recall (`quality.py`). The last
line is one JSON document: ViT-B/32's report with its `bars`, and the report of any other model under its name.

Where torch sees an NVIDIA GPU, or with `--device cuda`, ViT-B/32's towers run there instead, alone and up to batches of
1024 (`cuda.py`), in about six minutes; the results have a file of their own.
"""

from __future__ import annotations

import argparse
import json
import logging
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from benchmarks.encoders import quality, tables
from benchmarks.encoders.cpu import Cpu
from benchmarks.encoders.cuda import Cuda
from benchmarks.encoders.plans import PLANS, ModelPlan, chosen, command, default_device, stem
from benchmarks.encoders.rounds import Deadline, Device, ModelJob, cosines, measure, rows
from benchmarks.encoders.towers import Subject
from benchmarks.lib.machine import machine
from clip_core.model_spec import PRECISIONS

RESULTS = Path(__file__).resolve().parent.parent / "results"
DEVICES: dict[str, Callable[[], Device]] = {"cpu": Cpu, "cuda": Cuda}


def main() -> None:
    arguments = _arguments()
    logging.disable(logging.WARNING)
    torch.set_num_threads(arguments.threads)
    console = Console(stderr=True)
    plans = chosen(arguments)
    with tempfile.TemporaryDirectory(prefix="clipserve-bench-") as temporary:
        work = arguments.packages or Path(temporary)
        reports = [_saved(plan, DEVICES[plan.device](), work, arguments.save, console) for plan in plans]
    print(json.dumps({**reports[0], **{report["model"]: report for report in reports[1:]}}))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=PLANS, default=default_device(), help="cuda where torch sees a GPU")
    parser.add_argument("--model", nargs="+", help="open_clip architectures")
    parser.add_argument("--rounds", type=int, help="instead of each model's own number")
    parser.add_argument("--minutes", type=float, help="on a GPU: what has not begun by then is left out")
    parser.add_argument("--batches", type=int, nargs="+")
    parser.add_argument("--precisions", nargs="+", choices=PRECISIONS)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument(
        "--packages", type=Path, help="keep compiled packages and exports here, and take them from here"
    )
    parser.add_argument("--no-serving", action="store_true", help="the towers alone, without TorchServe")
    parser.add_argument("--no-variants", action="store_true", help="of ours, only what is compiled ahead of time")
    parser.add_argument("--no-quality", action="store_true", help="leave the demo model's recall out")
    parser.add_argument(
        "--save",
        type=Path,
        nargs="?",
        const=RESULTS,
        metavar="DIR",
        help="write results and the tables of docs/performance.md; with DIR the results alone, into it",
    )
    found = parser.parse_args()
    if found.device == "cuda" and not torch.cuda.is_available():
        parser.error("torch sees no CUDA here: --device cpu")
    return found


def _saved(plan: ModelPlan, device: Device, work: Path, directory: Path | None, console: Console) -> dict[str, Any]:
    """Written as soon as a model is measured: the next one takes long, and may fail."""
    report = _report(plan, device, work, console)
    if plan.quality:
        report["quality"] = quality.measure_quality()
        quality.show(report["quality"], console)
    if directory:
        save(plan, report, directory)
    if directory == RESULTS:
        tables.write()
    return report


def _report(plan: ModelPlan, device: Device, work: Path, console: Console) -> dict[str, Any]:
    directory = work / plan.model.lower()
    directory.mkdir(parents=True, exist_ok=True)
    table = _towers(plan, device, directory, console)
    serving = None
    if plan.serving:
        from benchmarks.encoders.serving import measure_serving

        serving = measure_serving(plan.model, console)
    report = {
        "benchmark": "encoders",
        "command": command(plan),
        "model": plan.model,
        "torch": torch.__version__,
        "machine": machine(),
        **device.facts(),
        **table,
        "serving": serving or {},
    }
    return {**report, "bars": device.bars(report)}


def _towers(plan: ModelPlan, device: Device, directory: Path, console: Console) -> dict[str, Any]:
    """The table of all engines, and the ceilings; every model and session is gone again when this returns."""
    with console.status(plan.model) as status:
        deadline = Deadline(plan.seconds)
        subject = Subject.random(plan.model, max(plan.batches))
        job = ModelJob(plan, subject, directory, deadline, status.update)
        made = device.candidates(job)
        status.update("warming up")
        close = cosines(made)
        seconds, ceiling = measure(made, device, plan.rounds, deadline, status.update)
    table = rows(seconds, close)
    show(plan.model, table, console)
    return {"rounds": max(map(len, seconds.values())), "gemm_gflops": ceiling, "rows": table}


def show(model: str, table: list[dict[str, Any]], console: Console) -> None:
    batches = sorted({row["batch"] for row in table})
    for what in dict.fromkeys(row["what"] for row in table):
        own = [row for row in table if row["what"] == what]
        printed = Table(f"{model} {what}, items /s", *(f"batch {batch}" for batch in batches), "least cosine")
        for engine in dict.fromkeys(row["engine"] for row in own):
            rates = {row["batch"]: row["items_per_s"] for row in own if row["engine"] == engine}
            least = min(row["cosine"] for row in own if row["engine"] == engine)
            printed.add_row(engine, *(f"{rates[b]:.1f}" if b in rates else "" for b in batches), f"{least:.6f}")
        console.print(printed)


def save(plan: ModelPlan, report: dict[str, Any], directory: Path) -> None:
    """`encoders.json` is ViT-B/32's on a CPU; others carry the device and the model in the name."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / f"{stem(plan)}.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
