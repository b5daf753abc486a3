"""Caches of keys and values compared: memory, what a budget admits, speed, and whether all say the same.

    make bench-kv

1. `memory`: coca_ViT-B-32 of random weights in fp32, one picture, 13 tokens, greedy and 6 beams that differ: reserved,
   resident and live bytes of each cache, its picture absorbed or not.
2. `loads`: 256 MB for keys and values, a queue of requests (greedy; 6 beams; mixed, 4 tokens to the whole context):
   how many are under way at once, captions/s, preemptions, waste.
3. `steps`: the time of a step, all caches taking turns in the same process.
4. `arrivals`: the mixed load by chance at 70 % of what the static cache stands: p50, p99.
5. `identity`: tokens that differ between caches, and of captions that were preempted: the demo's captioner on scenes
   that it never saw, and those of `loads`.

One scheduler runs all of them. The last line is one JSON document with `bars`. `--quick`: a minute, small models.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.captions.demo import FOLDER
from benchmarks.kv import identity
from benchmarks.kv.arms import ARMS, PAGED, SHORT, STATIC, absorbed, choice_of
from benchmarks.kv.arrivals import latencies
from benchmarks.kv.loads import LOADS, Request, requests
from benchmarks.kv.memory import nothing_shared_mb, of_a_picture
from benchmarks.kv.running import LoadRun, run, tokens_that_differ
from benchmarks.kv.steps import step_ms
from benchmarks.lib.reports import finish, head, judge, options, saved, show
from clip_core.caption_caches.choice import CacheChoice
from clip_core.captions.captioner import Captioner
from clip_core.cores import available_cores
from scripts.archive.random_checkpoint import write_random

ARCHITECTURE = "coca_ViT-B-32"
PARTS = ("memory", "loads", "steps", "arrivals", "identity")
BUDGET = 256_000_000
FOLDED = (absorbed(STATIC), absorbed("growing"), absorbed(PAGED))
BARS = {
    "mb_a_picture_beam_6": (18.0, "≤"),
    "mb_a_picture_beam_6_absorbed": (6.0, "≤"),
    "admitted_paged_over_static": (3.0, "≥"),
    "step_paged_over_static": (1.10, "≤"),
    "tokens_that_differ": (0.0, "≤"),
    "preempted_tokens_changed": (0.0, "≤"),
}
_COUNTS = {"greedy": 48, "beam": 30, "mixed": 20}
_SHAPES = {
    "greedy, 1 picture": (1, 1),
    "greedy, 8 pictures": (8, 1),
    "6 beams, 1 picture": (1, 6),
    "6 beams, 8 pictures": (8, 6),
}
_LOAD = 0.7
_OF_PARTS = {  # keys of the report, and figures
    "memory": ("memory", "nothing_shared_mb", "mb_a_picture_beam_6", "mb_a_picture_beam_6_absorbed"),
    "loads": ("loads", "admitted_paged_over_static", "tokens_that_differ_loads", "preempted_tokens_changed_loads"),
    "steps": ("step_ms", "step_paged_over_static"),
    "arrivals": ("arrivals",),
    "identity": ("identity", "preempted", "tokens_that_differ_demo", "preempted_tokens_changed_demo"),
}


@dataclass
class KvRun:
    """A captioner, plain and with pictures absorbed; `report` and `figures` are what was found so far."""

    plain: Captioner
    folded: Captioner
    quick: bool
    report: dict[str, Any]
    figures: dict[str, float]
    console: Console

    @property
    def budget(self) -> int:
        return 2_500_000 if self.quick else BUDGET

    def captioner(self, choice: CacheChoice) -> Captioner:
        return self.folded if choice.absorbed else self.plain

    def asked(self, load: str, count: int, seed: int = 5) -> list[Request]:
        return list(requests(load, count, self.plain.image_size, self.plain.context_length, seed))

    def memory(self) -> None:
        memory = of_a_picture(self.plain, ARMS)
        for load, arms in of_a_picture(self.folded, FOLDED).items():
            memory[load] |= arms
        self.report |= {"memory": memory, "nothing_shared_mb": nothing_shared_mb(self.plain, 6)}
        self.figures["mb_a_picture_beam_6"] = memory["beam"][PAGED]["reserved_mb"]
        self.figures["mb_a_picture_beam_6_absorbed"] = memory["beam"][absorbed(PAGED)]["reserved_mb"]
        self.console.print(memory["beam"])

    def loads(self) -> None:
        found: dict[str, dict[str, dict[str, float]]] = {}
        differ, changed = 0, 0
        for load in LOADS:
            asked = self.asked(load, _COUNTS[load] // (3 if self.quick else 1))
            first: LoadRun | None = None
            found[load] = {}
            for name in [*ARMS, *FOLDED] if load == "beam" else [*SHORT, absorbed(PAGED)]:
                choice = choice_of(name, self.budget)
                ran = run(self.captioner(choice), choice, asked)
                first = first or ran
                other = tokens_that_differ(first, ran)
                differ += other
                changed += other if ran.preempted else 0
                found[load][name] = {**ran.told(), "tokens_that_differ": float(other)}
                self.console.print(load, name, {key: round(value, 3) for key, value in found[load][name].items()})
        self.report["loads"] = found
        beam = found["beam"]
        self.figures["admitted_paged_over_static"] = beam[PAGED]["admitted_mean"] / beam[STATIC]["admitted_mean"]
        self.figures["tokens_that_differ_loads"] = float(differ)
        self.figures["preempted_tokens_changed_loads"] = float(changed)

    def steps(self) -> None:
        arms = {name: self.captioner(choice_of(name)) for name in [*ARMS, *FOLDED]}
        found = {
            label: step_ms(arms, pictures, lanes, rounds=2 if self.quick else 3)
            for label, (pictures, lanes) in _SHAPES.items()
            if not (self.quick and pictures > 1 and lanes > 1)
        }
        self.console.print(found)
        self.report["step_ms"] = found
        worst = [each for label, each in found.items() if self.quick or "8" in label]
        self.figures["step_paged_over_static"] = max(each[PAGED] / each[STATIC] for each in worst)

    def arrivals(self) -> None:
        """At a rate that the static cache stands, which is measured first."""
        asked = self.asked("mixed", 8 if self.quick else 24, seed=6)
        alone = run(self.plain, choice_of(STATIC, self.budget), asked)
        per_s = _LOAD * len(asked) / alone.seconds
        found: dict[str, dict[str, float]] = {}
        for name in (STATIC, "request's maximum", "growing", PAGED, absorbed(PAGED)):
            choice = choice_of(name, self.budget)
            found[name] = latencies(self.captioner(choice), choice, asked, per_s, rows=256)
            self.console.print("arrivals", name, found[name])
        self.report["arrivals"] = {"per_s": per_s, "arms": found}


def main() -> None:
    """Measure, print, and save when asked to."""
    parser = options(__doc__)
    parser.add_argument("--parts", nargs="*", choices=PARTS, default=list(PARTS))
    parser.add_argument(
        "--quick", action="store_true", help="the demo's captioner in place of the large one, and little of all"
    )
    parser.add_argument("--threads", type=int, default=available_cores(), help="fewer where others use the machine")
    given, console = parser.parse_args(), Console(stderr=True)
    report, figures = _before(given.parts) if given.save else ({}, {})
    report["budget_mb"] = BUDGET / 1e6
    with tempfile.TemporaryDirectory(prefix="clipserve-bench-") as work:
        if set(given.parts) - {"identity"}:
            folder = FOLDER if given.quick else write_random(Path(work) / "coca", ARCHITECTURE)
            plain = Captioner.load(folder, threads=given.threads)
            folded = Captioner.load(folder, threads=given.threads, absorbed=True)
            ran = KvRun(plain, folded, given.quick, report, figures, console)
            measures = {"memory": ran.memory, "loads": ran.loads, "steps": ran.steps, "arrivals": ran.arrivals}
            for part, measure in measures.items():
                if part in given.parts:
                    measure()
    if "identity" in given.parts:
        _identity(given.threads, given.quick, report, figures, console)
    for name in ("tokens_that_differ", "preempted_tokens_changed"):
        if found := [figures[key] for key in (f"{name}_loads", f"{name}_demo") if key in figures]:
            figures[name] = sum(found)
    show(figures, BARS, console)
    finish({**head("kv", "make bench-kv"), **report, "figures": figures, "bars": judge(figures, BARS)}, given.save)


def _before(parts: list[str]) -> tuple[dict[str, Any], dict[str, float]]:
    """What was saved of the parts that are not measured now."""
    before = saved("kv")
    kept = {key for part, keys in _OF_PARTS.items() if part not in parts for key in keys}
    figures = {key: value for key, value in before.get("figures", {}).items() if key in kept}
    return {key: value for key, value in before.items() if key in kept}, figures


def _identity(threads: int, quick: bool, report: dict[str, Any], figures: dict[str, float], console: Console) -> None:
    found = identity.compared("fp32", identity.all_arms(), 12 if quick else 150, threads)
    given_way = {
        precision: identity.preempted(
            *identity.demo(precision, threads, 8 if quick else 100), ("growing", "paged 16", PAGED)
        )
        for precision in ("fp32", "int8")
    }
    report |= {"identity": found, "preempted": given_way}
    console.print(found, given_way)
    differ = sum(each["tokens_that_differ"] for each in found.values())
    changed = sum(each["tokens_changed"] for each in given_way["fp32"].values())
    figures["tokens_that_differ_demo"] = differ
    figures["preempted_tokens_changed_demo"] = changed
