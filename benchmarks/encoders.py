"""The towers in process: our own forward passes against open_clip's, with the GEMM ceiling of the same run.

    make bench-encoders

ViT-B/32 with random weights (the speed is that of real ones), fp32 eager on both sides, batch 16 and 1. Each round
measures both sides once, so that noise falls on both alike; medians over the rounds. The smallest cosine to open_clip
stands beside every speed. The last line is one JSON document with `bars`.
"""

from __future__ import annotations

import argparse
import json
import logging
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch.nn import functional

from benchmarks.machine import machine
from clip_core.towers import image_module, text_module

RESULTS = Path(__file__).resolve().parent / "results" / "encoders.json"
SHORT = "a photo of a small red circle"  # 9 tokens with both ends
GFLOP_PER_IMAGE = 8.82
BATCH = 16
Forward = Callable[[], Tensor]


def candidates(name: str) -> dict[str, tuple[Forward, Forward, int]]:
    """What is measured → (open_clip's pass, ours, items in a pass)."""
    import open_clip

    logging.disable(logging.WARNING)
    torch.manual_seed(0)
    model, copy = (open_clip.create_model(name).eval() for _ in range(2))
    copy.load_state_dict(model.state_dict())
    image, text = image_module(copy).eval(), text_module(copy).eval()
    pixels = torch.randn(BATCH, 3, *model.visual.image_size)
    short = open_clip.get_tokenizer(name)([SHORT] * BATCH)
    full = open_clip.get_tokenizer(name)(["word " * 100] * BATCH)
    return {
        "image, batch 16": (lambda: model.encode_image(pixels), lambda: image(pixels), BATCH),
        "image, alone": (lambda: model.encode_image(pixels[:1]), lambda: image(pixels[:1]), 1),
        "short texts, batch 16": (lambda: model.encode_text(short), lambda: text(short), BATCH),
        "short text, alone": (lambda: model.encode_text(short[:1]), lambda: text(short[:1]), 1),
        "texts of 77 tokens, batch 16": (lambda: model.encode_text(full), lambda: text(full), BATCH),
    }


def gemm_ceiling() -> float:
    """GFLOP/s of a float32 product of the size of an MLP layer on this machine."""
    rows, inner, columns = BATCH * 50, 768, 3072
    a, w = torch.randn(rows, inner), torch.randn(columns, inner)
    seconds = min(_seconds(lambda: functional.linear(a, w)) for _ in range(20))
    return 2 * rows * inner * columns / seconds / 1e9


def _seconds(forward: Forward) -> float:
    started = time.perf_counter()
    forward()
    return time.perf_counter() - started


@torch.inference_mode()
def measure(name: str, rounds: int) -> tuple[list[dict[str, Any]], float]:
    rows = []
    ceilings = [gemm_ceiling()]
    for what, (theirs, ours, items) in candidates(name).items():
        cosine = float(functional.cosine_similarity(theirs(), ours()).min())
        pairs = [(_seconds(theirs), _seconds(ours)) for _ in range(rounds)]
        their, our = (statistics.median(column) for column in zip(*pairs, strict=True))
        rows.append(
            {
                "what": what,
                "open_clip_items_per_s": items / their,
                "ours_items_per_s": items / our,
                "ratio": statistics.median(a / b for a, b in pairs),
                "cosine": cosine,
            }
        )
        ceilings.append(gemm_ceiling())
    return rows, max(ceilings)


def judge(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    by_name = {row["what"]: row for row in rows}
    short, alone = by_name["short texts, batch 16"]["ratio"], 1 / by_name["short text, alone"]["ratio"]
    return [
        {
            "name": "short texts, batch 16 ÷ open_clip eager at 77",
            "value": round(short, 2),
            "bar": 10,
            "holds": short >= 10,
        },
        {
            "name": "one short text alone ÷ open_clip eager (time)",
            "value": round(alone, 3),
            "bar": 1 / 6,
            "holds": alone <= 1 / 6,
        },
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="ViT-B-32", help="an open_clip architecture")
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--save", action="store_true", help=f"write {RESULTS.name} under benchmarks/results")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    rows, ceiling = measure(arguments.model, arguments.rounds)
    table = Table("what", "open_clip /s", "ours /s", "ratio", "smallest cosine")
    for row in rows:
        speeds = (f"{row['open_clip_items_per_s']:.1f}", f"{row['ours_items_per_s']:.1f}", f"{row['ratio']:.2f}")
        table.add_row(row["what"], *speeds, f"{row['cosine']:.7f}")
    Console().print(table)
    share = rows[0]["ours_items_per_s"] * GFLOP_PER_IMAGE / ceiling
    report = {
        "benchmark": "encoders",
        "command": "make bench-encoders",
        "model": arguments.model,
        "torch": torch.__version__,
        "machine": machine(),
        "rows": rows,
        "gemm_gflops_fp32": ceiling,
        "image_share_of_gemm_ceiling": share if arguments.model == "ViT-B-32" else None,
        "bars": judge(rows),
    }
    if arguments.save:
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(report))


if __name__ == "__main__":
    main()
