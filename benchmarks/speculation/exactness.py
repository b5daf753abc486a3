"""Whether drafts change a caption: many pictures, eight at once, each by greedy search or by sampling."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

import torch
from torch import Tensor

from benchmarks.speculation.arms import CaptionsMade, captioned
from benchmarks.speculation.demo_scenes import CaptionGallery
from clip_core.captions.ask import CaptionAsk
from clip_core.captions.captioner import Captioner
from clip_core.captions.speculation import Speculation
from clip_core.speculation.pace import always

_BATCH = 8
_ASKS = (
    CaptionAsk(method="greedy"),
    CaptionAsk(method="greedy", prompt="a "),
    CaptionAsk(method="sample", temperature=1.0),
    CaptionAsk(method="sample", temperature=0.8, top_p=0.9),
    CaptionAsk(method="sample", temperature=1.5, top_k=20),
)


@dataclass(frozen=True)
class Exactness:
    """`changed`: captions that are others with drafts than without. `by_batch` are others only where eight plain ones
    share their steps, which plain decoding alone does as well. `guarded` of `positions` were decided by plain steps.
    """

    captions: int = 0
    changed: int = 0
    by_batch: int = 0
    positions: int = 0
    guarded: int = 0
    greedy_positions: int = 0
    greedy_guarded: int = 0

    def __add__(self, other: Exactness) -> Exactness:
        return Exactness(*(one + more for one, more in zip(vars(self).values(), vars(other).values(), strict=True)))

    def told(self) -> dict[str, float]:
        return {
            **asdict(self),
            "guarded_share": self.guarded / max(1, self.positions),
            "greedy_guarded_share": self.greedy_guarded / max(1, self.greedy_positions),
        }


def exactness(captioner: Captioner, speculation: Speculation, gallery: CaptionGallery, pixels: Tensor) -> Exactness:
    """Drafts of neighbours, always used, whether they pay or not."""
    forced = replace(speculation, pace=always(16))
    found = Exactness()
    for number, part in enumerate(torch.split(pixels, _BATCH)):
        ask = _ASKS[number % len(_ASKS)]
        asks = [replace(ask, seed=number * _BATCH + i) for i in range(len(part))]
        drafts = gallery.near(part)
        plain = captioned(captioner, part, asks, [()] * len(part), None)
        drafted = captioned(captioner, part, asks, drafts, forced)
        found += _compared(captioner, part, asks, drafts, forced, plain, drafted)
    return found


def _compared(
    captioner: Captioner,
    pixels: Tensor,
    asks: Sequence[CaptionAsk],
    drafts: Sequence[Sequence[str]],
    forced: Speculation,
    plain: CaptionsMade,
    drafted: CaptionsMade,
) -> Exactness:
    changed = by_batch = 0
    for place, (one, other) in enumerate(zip(plain.tokens, drafted.tokens, strict=True)):
        if one == other:
            continue
        alone = slice(place, place + 1)
        by_itself = captioned(captioner, pixels[alone], asks[alone], [()], None).tokens
        with_drafts = captioned(captioner, pixels[alone], asks[alone], drafts[alone], forced).tokens
        same = by_itself == with_drafts and other in (one, by_itself[0])
        changed, by_batch = changed + (not same), by_batch + same
    greedy = asks[0].method == "greedy"
    positions, guarded = plain.said, drafted.total("guarded")
    return Exactness(len(asks), changed, by_batch, positions, guarded, positions * greedy, guarded * greedy)
