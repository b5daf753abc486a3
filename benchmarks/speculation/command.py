"""Captions with drafts from the captions of neighbours, beside plain ones, prompt lookup and random drafts.

    make bench-speculation

The demo's captioner and gallery, pictures of combinations that no training showed, one thread.

1. `speed`: one picture at a time, int8, fp32 and bf16: plain; neighbours, with the image vector and the search in its
   time, as the default decides and with trees of 8, 16 and 32 tokens; prompt lookup; random captions, found at no cost.
2. `batches`: 1 to 32 at once, the default beside plain.
3. `exactness`: 10,000 captions in each precision, greedy and sampled in five ways, drafts always used.

Times are processor time of the thread, since others may use the machine; wall time is beside it. The last line is one
JSON document with `bars`.
"""

from __future__ import annotations

from typing import Any

import torch
from rich.console import Console

from benchmarks.lib.reports import finish, head, judge, options, show
from benchmarks.speculation.demo_scenes import FOLDER, CaptionGallery, unseen
from benchmarks.speculation.exactness import exactness
from benchmarks.speculation.speed import Timed, in_batches, one_by_one
from clip_core.captions.calibration import calibrate
from clip_core.captions.captioner import Captioner
from clip_core.captions.speculation import Speculation
from clip_core.networks import int8

PARTS = ("speed", "batches", "exactness")
PRECISIONS = ("int8", "fp32", "bf16")
BATCHES = (1, 2, 4, 8, 16, 32)
BARS = {
    "int8_neighbours_over_plain": (1.8, "≥"),
    "int8_neighbours_over_random": (1.3, "≥"),
    "least_default_over_plain": (0.97, "≥"),
    "changed_int8": (0.0, "≤"),
    "changed_fp32": (0.0, "≤"),
    "changed_bf16": (0.0, "≤"),
}
Figures = dict[str, float]


def main() -> None:
    """Measure, print, and save when asked to."""
    parser = options(__doc__)
    parser.add_argument("--parts", nargs="*", choices=PARTS, default=list(PARTS))
    parser.add_argument("--precisions", nargs="*", choices=PRECISIONS, default=list(PRECISIONS))
    parser.add_argument("--pictures", type=int, default=96, help="of speed")
    parser.add_argument("--captions", type=int, default=10_000, help="of exactness, in each precision")
    parser.add_argument("--quick", action="store_true", help="a smoke test: few of everything")
    given, console = parser.parse_args(), Console(stderr=True)
    pictures, captions, rounds = (8, 40, 1) if given.quick else (given.pictures, given.captions, 3)
    batches = (1, 4) if given.quick else BATCHES
    torch.set_num_threads(1)
    gallery = CaptionGallery()
    needed = max(pictures, captions if "exactness" in given.parts else 0)
    pixels = gallery.transform(unseen(needed))
    figures: Figures = {}
    told: dict[str, Any] = {}
    for precision in given.precisions:
        if precision == "int8" and int8.unsupported():
            continue
        captioner = Captioner.load(FOLDER / "captioner", precision=precision)
        speculation = calibrate(captioner, pixels[:4])
        told[precision] = {"spread": speculation.spread}
        if "speed" in given.parts:
            timed = one_by_one(captioner, speculation, gallery, pixels[:pictures], rounds, console)
            figures |= _speed(precision, timed, pictures)
        if "batches" in given.parts:
            figures |= _batches(captioner, speculation, gallery, pixels[:pictures], batches, rounds, console)
        if "exactness" in given.parts:
            found = exactness(captioner, speculation, gallery, pixels[:captions])
            told[precision] |= found.told()
            console.print(precision, told[precision])
            figures[f"changed_{precision}"] = float(found.changed)
            figures[f"guarded_share_{precision}"] = found.guarded / max(1, found.positions)
    ratios = [value for name, value in figures.items() if "_default_over_plain_" in name]
    figures |= {"least_default_over_plain": min(ratios)} if ratios else {}
    show(figures, BARS, console)
    report = {**head("speculation", "make bench-speculation"), **told, "figures": figures, "bars": judge(figures, BARS)}
    finish(report, given.save)


def _speed(precision: str, timed: dict[str, Timed], pictures: int) -> Figures:
    figures = {}
    for name, each in timed.items():
        figures[f"{precision}_{name}_ms"] = each.cpu_ms / pictures
        figures[f"{precision}_{name}_wall_ms"] = each.wall_ms / pictures
        if each.passes:
            figures[f"{precision}_{name}_tokens_per_pass"] = each.tokens_per_pass
    plain, ours = timed["plain"], timed["neighbours"]
    differ = sum(a.tokens != b.tokens for a, b in zip(plain.made, ours.made, strict=True))
    return figures | {
        f"{precision}_neighbours_over_plain": plain.cpu_ms / ours.cpu_ms,
        f"{precision}_neighbours_over_plain_wall": plain.wall_ms / ours.wall_ms,
        f"{precision}_neighbours_over_random": timed["random"].cpu_ms / ours.cpu_ms,
        f"{precision}_neighbours_over_prompt_lookup": timed["prompt_lookup"].cpu_ms / ours.cpu_ms,
        f"{precision}_speed_outputs_changed": float(differ),
    }


def _batches(
    captioner: Captioner,
    speculation: Speculation,
    gallery: CaptionGallery,
    pixels: torch.Tensor,
    batches: tuple[int, ...],
    rounds: int,
    console: Console,
) -> Figures:
    figures = {}
    for batch in batches:
        timed = in_batches(captioner, speculation, gallery, pixels, batch, rounds)
        ratio = timed["plain"].cpu_ms / timed["default"].cpu_ms
        console.print(f"{captioner.precision}, {batch} at once: default ÷ plain {ratio:.2f}")
        figures[f"{captioner.precision}_default_over_plain_{batch}"] = ratio
        figures[f"{captioner.precision}_default_passes_{batch}"] = float(timed["default"].passes)
    return figures
