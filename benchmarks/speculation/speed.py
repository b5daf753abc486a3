"""How fast captions are made with drafts and without, in processor time of one thread: others may use the machine."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from rich.console import Console
from torch import Tensor

from benchmarks.speculation.arms import CaptionsMade, PromptLookup, captioned
from benchmarks.speculation.demo_scenes import CaptionGallery
from clip_core.captions.ask import CaptionAsk
from clip_core.captions.captioner import Captioner
from clip_core.captions.speculation import Speculation
from clip_core.speculation.pace import DraftPace, always

GREEDY = CaptionAsk(method="greedy")
_WIDTH = 16  # of the arms that always use drafts
Arm = Callable[[Tensor], CaptionsMade]


@dataclass(frozen=True)
class Timed:
    """The sums of each picture's (or batch's) least times over the rounds, and what was made in the last one."""

    cpu_ms: float
    wall_ms: float
    made: list[CaptionsMade]

    @property
    def passes(self) -> int:
        return sum(made.total("passes") for made in self.made)

    @property
    def tokens_per_pass(self) -> float:
        return (self.accepted + self.passes) / self.passes if self.passes else 1.0

    @property
    def accepted(self) -> int:
        return sum(made.total("accepted") for made in self.made)


def one_by_one(
    captioner: Captioner,
    speculation: Speculation,
    gallery: CaptionGallery,
    pixels: Tensor,
    rounds: int,
    console: Console,
) -> dict[str, Timed]:
    """All arms, a picture at a time. Retrieval is a part of `neighbours`; random captions cost nothing to find."""
    learned = replace(speculation, pace=DraftPace(speculation.pace.costs))
    forced = {width: replace(speculation, pace=always(width)) for width in (8, _WIDTH, 32)}
    lookup = PromptLookup(speculation.spread, always(8))
    arms: dict[str, Arm] = {
        "plain": lambda part: captioned(captioner, part, [GREEDY], [()], None),
        "neighbours": lambda part: captioned(captioner, part, [GREEDY], gallery.near(part), learned),
        "prompt_lookup": lambda part: captioned(captioner, part, [GREEDY], [()], lookup),
        "random": lambda part: captioned(captioner, part, [GREEDY], [gallery.any()], forced[_WIDTH]),
        "retrieval": lambda part: _nothing(gallery.near(part)),
    }
    for width, other in forced.items():
        arms[f"neighbours_{width}"] = _by_neighbours(captioner, gallery, other)
    timed = _timed(arms, [pixels[i : i + 1] for i in range(len(pixels))], rounds)
    console.print(captioner.precision, {name: round(each.cpu_ms / len(pixels), 2) for name, each in timed.items()})
    return timed


def in_batches(
    captioner: Captioner, speculation: Speculation, gallery: CaptionGallery, pixels: Tensor, batch: int, rounds: int
) -> dict[str, Timed]:
    """Plainly, and as a gateway does it: drafts are looked for while the captioner uses them."""
    learned = replace(speculation, pace=DraftPace(speculation.pace.costs))
    asks = [GREEDY] * batch

    def default(part: Tensor) -> CaptionsMade:
        pays = learned.pace.pays(batch, "greedy")
        return captioned(captioner, part, asks, gallery.near(part) if pays else [()] * batch, learned)

    arms: dict[str, Arm] = {
        "plain": lambda part: captioned(captioner, part, asks, [()] * batch, None),
        "default": default,
    }
    parts = [pixels[first : first + batch] for first in range(0, len(pixels) - batch + 1, batch)]
    return _timed(arms, parts, rounds)


def _by_neighbours(captioner: Captioner, gallery: CaptionGallery, speculation: Speculation) -> Arm:
    return lambda part: captioned(captioner, part, [GREEDY], gallery.near(part), speculation)


def _nothing(_: object) -> CaptionsMade:
    return CaptionsMade()


def _timed(arms: Mapping[str, Arm], parts: Sequence[Tensor], rounds: int) -> dict[str, Timed]:
    """The arms take turns at each part, after one round that warms up."""
    for run in arms.values():
        run(parts[0])
    cpu = {name: [float("inf")] * len(parts) for name in arms}
    wall = {name: [float("inf")] * len(parts) for name in arms}
    made: dict[str, list[CaptionsMade]] = {name: [CaptionsMade()] * len(parts) for name in arms}
    for _ in range(rounds):
        for place, part in enumerate(parts):
            for name, run in arms.items():
                started, cpu_started = time.perf_counter(), time.thread_time()
                made[name][place] = run(part)
                cpu[name][place] = min(cpu[name][place], time.thread_time() - cpu_started)
                wall[name][place] = min(wall[name][place], time.perf_counter() - started)
    return {name: Timed(sum(cpu[name]) * 1e3, sum(wall[name]) * 1e3, made[name]) for name in arms}
