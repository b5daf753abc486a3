"""CLIP's towers: ours in every precision against open_clip, ONNX Runtime and OpenVINO, with the run's own ceiling.

    make bench-encoders

ViT-B/32, then ViT-L/14, with random weights (the speed is that of real ones). Each round runs every candidate once at
each batch size; medians over the rounds; the smallest cosine to open_clip in float32 beside every speed. Then the
serving side with a real TorchServe (`serving.py`), and what each precision costs the demo model's recall
(`quality.py`). The last line is one JSON document: ViT-B/32's report with its `bars`, others under their names.

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

from benchmarks.encoders import quality, tables
from benchmarks.encoders.cpu import Cpu
from benchmarks.encoders.cuda import Cuda
from benchmarks.encoders.plans import PLANS, ModelPlan, chosen, stem
from benchmarks.encoders.rounds import Deadline, Device, ModelJob, cosines, measure, rows
from benchmarks.encoders.towers import Subject
from benchmarks.lib.reports import RESULTS, head, write
from clip_core.model_spec import PRECISIONS

DEVICES: dict[str, Callable[[], Device]] = {"cpu": Cpu, "cuda": Cuda}
SAVED = "write results and the tables of docs/performance.md; with DIR the results alone, into it"


def main() -> None:
    """Measure, print, and save when asked to."""
    given = _arguments()
    logging.disable(logging.WARNING)
    torch.set_num_threads(given.threads)
    console = Console(stderr=True)
    with tempfile.TemporaryDirectory(prefix="clipserve-bench-") as temporary:
        work = given.packages or Path(temporary)
        reports = [_saved(plan, DEVICES[plan.device](), work, given.save, console) for plan in chosen(given)]
    print(json.dumps({**reports[0], **{report["model"]: report for report in reports[1:]}}))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = "cuda" if torch.cuda.is_available() else "cpu"
    parser.add_argument("--device", choices=PLANS, default=default, help="cuda where torch sees a GPU")
    parser.add_argument("--model", nargs="+", help="open_clip architectures")
    parser.add_argument("--rounds", type=int, help="instead of each model's own number")
    parser.add_argument("--minutes", type=float, help="on a GPU: what has not begun by then is left out")
    parser.add_argument("--batches", type=int, nargs="+")
    parser.add_argument("--precisions", nargs="+", choices=PRECISIONS)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--packages", type=Path, help="keep compiled packages here, and take them from here")
    parser.add_argument("--no-serving", action="store_true", help="the towers alone, without TorchServe")
    parser.add_argument("--no-variants", action="store_true", help="on a GPU: of ours, only what is compiled")
    parser.add_argument("--no-quality", action="store_true", help="leave the demo model's recall out")
    parser.add_argument("--save", type=Path, nargs="?", const=RESULTS, metavar="DIR", help=SAVED)
    found = parser.parse_args()
    if found.device == "cuda" and not torch.cuda.is_available():
        parser.error("torch sees no CUDA here: --device cpu")
    return found


def _saved(plan: ModelPlan, device: Device, work: Path, directory: Path | None, console: Console) -> dict[str, Any]:
    """Written as soon as a model is measured: the next one takes long, and may fail."""
    report = _report(plan, device, work, console)
    if plan.quality:
        report["quality"] = quality.measure_quality()
        console.print(*report["quality"], sep="\n")
    if directory:
        save(plan, report, directory)
    if directory == RESULTS:
        tables.write()
    return report


def _report(plan: ModelPlan, device: Device, work: Path, console: Console) -> dict[str, Any]:
    directory, serving = work / plan.model.lower(), dict[str, float]()
    directory.mkdir(parents=True, exist_ok=True)
    found = _towers(plan, device, directory, console)
    if plan.serving:
        from benchmarks.encoders.serving import measure_serving

        serving = measure_serving(plan.model, console)
    again = f"python -m benchmarks.encoders --device {plan.device} --model {plan.model}"
    report = {**head("encoders", again), "model": plan.model, "torch": torch.__version__}
    report |= {**device.facts(), **found, "serving": serving}
    return {**report, "bars": device.bars(report)}


def _towers(plan: ModelPlan, device: Device, directory: Path, console: Console) -> dict[str, Any]:
    """The table of all engines, and the ceilings; every model and session is gone again when this returns."""
    with console.status(plan.model) as status:
        deadline = Deadline(plan.seconds)
        job = ModelJob(plan, Subject.random(plan.model, max(plan.batches)), directory, deadline, status.update)
        made = device.candidates(job)
        status.update("warming up")
        close = cosines(made)
        seconds, ceiling = measure(made, device, plan.rounds, deadline, status.update)
    table = rows(seconds, close)
    console.print(*table, sep="\n")
    return {"rounds": max(map(len, seconds.values())), "gemm_gflops": ceiling, "rows": table}


def save(plan: ModelPlan, report: dict[str, Any], directory: Path) -> None:
    """`encoders.json` is ViT-B/32's on a CPU; others carry the device and the model in the name."""
    directory.mkdir(parents=True, exist_ok=True)
    write(report, directory / f"{stem(plan)}.json")
