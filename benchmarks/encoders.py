"""CLIP's towers: ours in every precision against open_clip, ONNX Runtime and OpenVINO, with the run's own ceiling.

    make bench-encoders

ViT-B/32, then ViT-L/14, with random weights (the speed is that of real ones). Each round runs every candidate once at
each batch size; medians over the rounds; the smallest cosine to open_clip in float32 beside every speed. ViT-L/14 takes
twenty times as long a picture, so it gets fewer rounds, and of ours what the others did not beat. Then the serving side
with a real TorchServe (`benchmarks/encoder_serving.py`), and what each precision costs the demo model's recall
(`benchmarks/encoder_quality.py`). The last line is one JSON document: ViT-B/32's report with its `bars`, and the report
of any other model under its name.
"""

from __future__ import annotations

import argparse
import json
import logging
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from benchmarks import encoder_quality, encoder_readme
from benchmarks.encoder_bars import judge
from benchmarks.encoder_plot import draw
from benchmarks.encoder_rounds import Plan, candidates, cosines, measure, rows
from benchmarks.encoder_towers import PRECISIONS, Subject
from benchmarks.machine import machine

RESULTS = Path(__file__).resolve().parent / "results"
DOCS = Path(__file__).resolve().parent.parent / "docs"
BASE = Plan("ViT-B-32", (1, 8, 16, 32), PRECISIONS, rounds=9, variants=True, serving=True)
LARGE = Plan("ViT-L-14", (1, 8, 32), ("bf16", "int8"), rounds=3, variants=False, serving=False)
PLANS = {plan.model: plan for plan in (BASE, LARGE)}


def main() -> None:
    arguments = _arguments()
    logging.disable(logging.WARNING)
    torch.set_num_threads(arguments.threads)
    console = Console(stderr=True)
    with tempfile.TemporaryDirectory(prefix="clipserve-bench-") as temporary:
        work = arguments.packages or Path(temporary)
        reports = [_report(plan, work, console) for plan in _plans(arguments)]
    if not arguments.no_quality:
        reports[0]["quality"] = encoder_quality.measure_quality()
        encoder_quality.show(reports[0]["quality"], console)
    if arguments.save:
        for report in reports:
            save(report)
        encoder_readme.write()
    print(json.dumps({**reports[0], **{report["model"]: report for report in reports[1:]}}))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", nargs="+", default=list(PLANS), help="open_clip architectures")
    parser.add_argument("--rounds", type=int, help="instead of each model's own number")
    parser.add_argument("--batches", type=int, nargs="+")
    parser.add_argument("--precisions", nargs="+", choices=PRECISIONS)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument(
        "--packages", type=Path, help="keep compiled packages and exports here, and take them from here"
    )
    parser.add_argument("--no-serving", action="store_true", help="the towers alone, without TorchServe")
    parser.add_argument("--no-variants", action="store_true", help="of ours, only what is compiled ahead of time")
    parser.add_argument("--no-quality", action="store_true", help="leave the demo model's recall out")
    parser.add_argument("--save", action="store_true", help="write results, plots and the README's tables")
    return parser.parse_args()


def _plans(arguments: argparse.Namespace) -> list[Plan]:
    given: dict[str, Any] = {"threads": arguments.threads}
    given |= {key: tuple(value) for key in ("batches", "precisions") if (value := getattr(arguments, key))}
    given |= {"rounds": arguments.rounds} if arguments.rounds else {}
    given |= {"serving": False} if arguments.no_serving else {}
    given |= {"variants": False} if arguments.no_variants else {}
    return [replace(PLANS.get(model, replace(LARGE, model=model)), **given) for model in arguments.model]


def _report(plan: Plan, work: Path, console: Console) -> dict[str, Any]:
    directory = work / plan.model.lower()
    directory.mkdir(parents=True, exist_ok=True)
    table, ceiling = _towers(plan, directory, console)
    serving = None
    if plan.serving:
        from benchmarks.encoder_serving import measure_serving

        serving = measure_serving(plan.model, console)
    return {
        "benchmark": "encoders",
        "command": "make bench-encoders"
        if plan.model in PLANS
        else f"python -m benchmarks.encoders --model {plan.model}",
        "model": plan.model,
        "torch": torch.__version__,
        "machine": machine(),
        "rounds": plan.rounds,
        "gemm_gflops": ceiling,
        "rows": table,
        "serving": serving or {},
        "bars": judge(table, ceiling, serving, plan.model),
    }


def _towers(plan: Plan, directory: Path, console: Console) -> tuple[list[dict[str, Any]], dict[str, float]]:
    """The table of all engines, and the ceilings; every model and session is gone again when this returns."""
    with console.status(plan.model) as status:
        subject = Subject.random(plan.model, max(plan.batches))
        made = candidates(subject, directory, plan, status.update)
        status.update("warming up")
        close = cosines(made)
        seconds, ceiling = measure(made, plan.rounds, status.update)
    table = rows(seconds, close)
    show(plan.model, table, console)
    return table, ceiling


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


def save(report: dict[str, Any]) -> None:
    """`encoders.json` and `encoders.png` are ViT-B/32's; those of another model carry its name."""
    stem = "encoders" if report["model"] == BASE.model else f"encoders-{report['model'].lower()}"
    (RESULTS / f"{stem}.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    draw(report, DOCS / f"{stem}.png")


if __name__ == "__main__":
    main()
