"""CLIP's towers: ours in every precision against open_clip, ONNX Runtime and OpenVINO, with the run's own ceiling.

    make bench-encoders

ViT-B/32 with random weights (the speed is that of real ones). Each round runs every candidate once at each batch size,
so that noise falls on all alike; medians over the rounds; the smallest cosine to open_clip in float32 beside every
speed. Then the serving side with a real TorchServe (`benchmarks/encoder_serving.py`). The last line is one JSON
document with `bars`.
"""

from __future__ import annotations

import argparse
import json
import logging
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch.nn import functional

from benchmarks.encoder_bars import judge
from benchmarks.encoder_peers import peers
from benchmarks.encoder_plot import draw
from benchmarks.encoder_towers import PRECISIONS, Subject, just_in_time, towers
from benchmarks.gemm import ceilings
from benchmarks.machine import machine

RESULTS = Path(__file__).resolve().parent / "results" / "encoders.json"
PLOT = Path(__file__).resolve().parent.parent / "docs" / "encoders.png"
BATCHES = (1, 8, 16, 32)
SETTLE_S = (
    0.1  # before each timing: thread pools of the engine before spin for a while, on cores that the next one needs
)
Forward = Callable[[], Tensor]
Key = tuple[str, str, int]  # what, engine, batch


def candidates(
    subject: Subject, directory: Path, arguments: argparse.Namespace, report: Callable[[str], None]
) -> dict[Key, Forward]:
    """Every (what, engine, batch) → one forward pass."""
    model, batches = subject.loaded.model, arguments.batches
    made: dict[Key, Forward] = {}
    ours = towers(subject, directory, arguments.precisions, report)
    report("exporting for the peers")
    images: dict[str, Callable[[Tensor], Tensor]] = {"open_clip fp32": model.encode_image}
    images |= peers(model, subject.normal[:2], directory, arguments.threads)
    for batch in batches:
        for name, image in images.items():
            made["image", name, batch] = partial(image, subject.normal[:batch])
        for name, each in ours.items():
            made["image", name, batch] = partial(each.image, subject.pixels[:batch])
        for what, ids in {"short text": subject.short, "full text": subject.full}.items():
            made[what, "open_clip fp32", batch] = partial(model.encode_text, ids[:batch])
            for name, each in ours.items():
                made[what, name, batch] = partial(each.text, ids[:batch])
    if not arguments.no_jit:
        compiled, last = just_in_time(subject), 16 if 16 in batches else batches[-1]
        made["image", "ours fp32, torch.compile", last] = lambda: compiled(subject.pixels[:last])
    return made


@torch.inference_mode()
def cosines(made: dict[Key, Forward]) -> dict[Key, float]:
    """The smallest cosine to open_clip of each candidate's vectors; running each once also warms it up."""
    references = {
        (what, batch): made[what, engine, batch]() for what, engine, batch in made if engine == "open_clip fp32"
    }
    return {
        (what, engine, batch): float(
            functional.cosine_similarity(forward().double(), references[what, batch].double()).min()
        )
        for (what, engine, batch), forward in made.items()
    }


@torch.inference_mode()
def measure(
    made: dict[Key, Forward], rounds: int, report: Callable[[str], None]
) -> tuple[dict[Key, list[float]], dict[str, float]]:
    """Seconds of each candidate in each round, and the best GEMM rates seen between the rounds."""
    seconds: dict[Key, list[float]] = {key: [] for key in made}
    best = ceilings()
    for number in range(rounds):
        report(f"round {number + 1} of {rounds}")
        for key, forward in made.items():
            time.sleep(SETTLE_S)
            started = time.perf_counter()
            forward()
            seconds[key].append(time.perf_counter() - started)
        best = {name: max(rate, best[name]) for name, rate in ceilings().items()}
    return seconds, best


def rows(seconds: dict[Key, list[float]], close: dict[Key, float]) -> list[dict[str, Any]]:
    """One row a candidate; `ratio` is the median over the rounds of its rate to open_clip's in the same round."""
    made = []
    for (what, engine, batch), mine in seconds.items():
        theirs = seconds[what, "open_clip fp32", batch]
        made.append(
            {
                "what": what,
                "engine": engine,
                "batch": batch,
                "items_per_s": batch / statistics.median(mine),
                "ratio": statistics.median(t / m for t, m in zip(theirs, mine, strict=True)),
                "cosine": close[what, engine, batch],
            }
        )
    return made


def show(made: list[dict[str, Any]], console: Console) -> None:
    batches = sorted({row["batch"] for row in made})
    for what in dict.fromkeys(row["what"] for row in made):
        own = [row for row in made if row["what"] == what]
        table = Table(f"{what}, items /s", *(f"batch {batch}" for batch in batches), "least cosine")
        for engine in dict.fromkeys(row["engine"] for row in own):
            rates = {row["batch"]: row["items_per_s"] for row in own if row["engine"] == engine}
            least = min(row["cosine"] for row in own if row["engine"] == engine)
            table.add_row(engine, *(f"{rates[b]:.1f}" if b in rates else "" for b in batches), f"{least:.6f}")
        console.print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="ViT-B-32", help="an open_clip architecture")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--batches", type=int, nargs="+", default=list(BATCHES))
    parser.add_argument("--precisions", nargs="+", default=list(PRECISIONS), choices=PRECISIONS)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--packages", type=Path, help="keep compiled packages here, and take them from here")
    parser.add_argument("--no-serving", action="store_true", help="the towers alone, without TorchServe")
    parser.add_argument(
        "--no-jit", action="store_true", help="leave torch.compile out, which takes a minute to compile"
    )
    parser.add_argument("--save", action="store_true", help=f"write {RESULTS.name} and the plot")
    arguments = parser.parse_args()
    logging.disable(logging.WARNING)
    torch.set_num_threads(arguments.threads)
    console = Console(stderr=True)
    with tempfile.TemporaryDirectory(prefix="clipserve-bench-") as temporary:
        directory = arguments.packages or Path(temporary)
        directory.mkdir(parents=True, exist_ok=True)
        report = _report(arguments, directory, console)
    if arguments.save:
        path = RESULTS if arguments.model == "ViT-B-32" else RESULTS.with_stem(f"encoders-{arguments.model.lower()}")
        path.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
        draw(report, PLOT if path == RESULTS else PLOT.with_stem(path.stem))
    print(json.dumps(report))


def _report(arguments: argparse.Namespace, directory: Path, console: Console) -> dict[str, Any]:
    subject = Subject.random(arguments.model, max(arguments.batches))
    with console.status("building") as status:
        made = candidates(subject, directory, arguments, status.update)
        close = cosines(made)
        seconds, ceiling = measure(made, arguments.rounds, status.update)
    table = rows(seconds, close)
    show(table, console)
    serving: dict[str, float] = {}
    if not arguments.no_serving:
        from benchmarks.encoder_serving import measure_serving

        del made
        serving = measure_serving(arguments.model, console)
    command = (
        "make bench-encoders"
        if arguments.model == "ViT-B-32"
        else "python -m benchmarks.encoders --model " + arguments.model
    )
    return {
        "benchmark": "encoders",
        "command": command,
        "model": arguments.model,
        "torch": torch.__version__,
        "machine": machine(),
        "gemm_gflops": ceiling,
        "rows": table,
        "serving": serving,
        "bars": judge(table, ceiling, serving, arguments.model),
    }


if __name__ == "__main__":
    main()
