"""Captions against open_clip's own, token by token, and how fast they are.

    make bench-captions

1. `parity`: coca_ViT-B-32 of random weights, 24 pictures, greedy and beam search (6 beams in 3 groups): tokens that
   differ from `CoCa.generate`. Where open_clip's own choice was closer than 1e-4, a difference is counted apart.
2. `speed`: captions/s beside `CoCa.generate`, which takes turns with ours in the same process, 14 tokens each (real
   captions have 13); and one step of one row. fp32 is compiled, as archives of CoCa models are.
3. `demo`: the demo's captioner, 500 pictures of unseen scenes, batches of 1, 4 and 8; int8 beside it.
4. `served`: the same random model behind TorchServe, beside the same scheduler in this process.

The peer needs an older transformers (`make setup-captions`). The last line is one JSON document with `bars`.
"""

from __future__ import annotations

import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from benchmarks.captions import demo, served
from benchmarks.captions.open_clip_captions import OpenClipCaptions, with_beam_search
from benchmarks.captions.parity import Parity, compare, told_by_open_clip
from benchmarks.captions.speed import against_open_clip, step_ms
from benchmarks.lib.reports import finish, head, judge, options, show
from clip_core.captions.ask import CaptionAsk
from clip_core.captions.captioner import Captioner
from clip_core.cores import available_cores
from scripts.archive.random_checkpoint import write_random

ARCHITECTURE = "coca_ViT-B-32"
PARTS = ("parity", "speed", "demo", "served")
LONGEST = 15  # of a caption with start and end: 14 steps
BEAM = CaptionAsk(method="beam", max_tokens=LONGEST)
GREEDY = CaptionAsk(method="greedy", max_tokens=LONGEST)
BARS = {
    "tokens_that_differ_random": (0.0, "≤"),
    "beam_fp32_over_open_clip_batch_1": (4.5, "≥"),
    "beam_fp32_over_open_clip_batch_4": (9.0, "≥"),
    "beam_int8_batch_8_over_open_clip_batch_4": (20.0, "≥"),
    "int8_step_over_fp32_eager": (0.4, "≤"),
    **demo.BARS,
    **served.BARS,
}


def main() -> None:
    """Measure, print, and save when asked to."""
    parser = options(__doc__)
    parser.add_argument("--parts", nargs="*", choices=PARTS, default=list(PARTS))
    parser.add_argument("--pictures", type=int, default=24, help="of the random model that are compared")
    parser.add_argument("--rounds", type=int, default=3, help="of all arms in turn")
    given, console = parser.parse_args(), Console(stderr=True)
    with_beam_search()
    torch.set_num_threads(available_cores())
    figures: dict[str, float] = {}
    told: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="clipserve-bench-") as work:
        if set(given.parts) - {"demo"}:
            staged = served.staged(write_random(Path(work) / "coca", ARCHITECTURE), Path(work) / "staged")
        if {"parity", "speed"} & set(given.parts):
            measured, told = _random(staged / "files", given.parts, given.pictures, given.rounds, console)
            figures |= measured
        if "served" in given.parts:
            figures |= served.measure(staged, console)
    if "demo" in given.parts:
        measured, of_demo = demo.measure(console)
        figures |= measured
        told |= of_demo
    show(figures, BARS, console)
    report = {**head("captions", "make bench-captions"), **told, "figures": figures, "bars": judge(figures, BARS)}
    finish(report, given.save)


def _random(
    folder: Path, parts: list[str], pictures: int, rounds: int, console: Console
) -> tuple[dict[str, float], dict[str, Any]]:
    generator = torch.Generator().manual_seed(3)
    pixels = torch.randint(0, 256, (max(pictures, 8), 3, 224, 224), generator=generator, dtype=torch.uint8)
    threads = available_cores()
    reference, plain = OpenClipCaptions(folder), Captioner.load(folder, threads=threads)
    compiled = Captioner.load(folder, compiled=True, threads=threads)
    figures: dict[str, float] = {}
    told: dict[str, Any] = {}
    if "parity" in parts:
        arms = [plain, compiled]
        found = {ask.method: _compared(reference, arms, pixels[:pictures], ask) for ask in (GREEDY, BEAM)}
        told["parity_random"] = {method: asdict(parity) for method, parity in found.items()}
        console.print(told)
        figures["tokens_that_differ_random"] = sum(parity.tokens_that_differ for parity in found.values())
    if "speed" in parts:
        fast = _eighths(folder, threads)
        figures |= against_open_clip(reference, plain, compiled, fast, pixels, BEAM, rounds, console)
        figures |= _steps(plain, compiled, fast) | _ratios(figures)
    return figures, told


def _eighths(folder: Path, threads: int) -> Captioner:
    """In int8, compiled now: the packages in the folder are fp32's."""
    with tempfile.TemporaryDirectory(prefix="clipserve-bench-") as work:
        for file in folder.iterdir():
            if file.is_file():
                (Path(work) / file.name).symlink_to(file)
        return Captioner.load(Path(work), precision="int8", compiled=True, threads=threads)


def _compared(reference: OpenClipCaptions, arms: list[Captioner], pixels: torch.Tensor, ask: CaptionAsk) -> Parity:
    """Ours one by one and eight at once, against open_clip's in fours."""
    told = told_by_open_clip(reference, pixels, ask, 4)
    return sum((compare(told, arm, pixels, ask, batch) for arm in arms for batch in (1, 8)), Parity())


def _steps(plain: Captioner, compiled: Captioner, fast: Captioner) -> dict[str, float]:
    eager, eighths = step_ms(plain), step_ms(fast)
    return {
        "step_ms_fp32_eager": eager,
        "step_ms_fp32_compiled": step_ms(compiled),
        "step_ms_fp32_compiled_8_rows": step_ms(compiled, pictures=8),
        "step_ms_int8_compiled": eighths,
        "step_ms_int8_compiled_8_rows": step_ms(fast, pictures=8),
        "step_ms_fp32_eager_8_rows": step_ms(plain, pictures=8),
        "int8_step_over_fp32_eager": eighths / eager,
    }


def _ratios(figures: dict[str, float]) -> dict[str, float]:
    def rate(arm: str) -> float:
        return figures[f"captions_per_s_{arm}"]

    return {
        "beam_fp32_over_open_clip_batch_1": rate("fp32_batch_1") / rate("open_clip_batch_1"),
        "beam_fp32_over_open_clip_batch_4": rate("fp32_batch_4") / rate("open_clip_batch_4"),
        "beam_int8_batch_8_over_open_clip_batch_4": rate("int8_compiled_batch_8") / rate("open_clip_batch_4"),
    }
