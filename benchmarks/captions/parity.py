"""Whether our captions are open_clip's, token by token."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from benchmarks.captions.open_clip_captions import NARROW, OpenClipCaption, OpenClipCaptions
from benchmarks.captions.ours import captions
from clip_core.captions.ask import CaptionAsk
from clip_core.captions.captioner import Captioner


@dataclass(frozen=True)
class Parity:
    """Over all captions that were compared: `differ` where open_clip decided clearly, `narrow` where it did not."""

    captions: int = 0
    equal: int = 0
    tokens_that_differ: int = 0
    narrow: int = 0

    def __add__(self, other: Parity) -> Parity:
        return Parity(*(one + more for one, more in zip(vars(self).values(), vars(other).values(), strict=True)))

    @property
    def share_equal(self) -> float:
        return self.equal / self.captions if self.captions else 0.0


def told_by_open_clip(
    reference: OpenClipCaptions, pixels: Tensor, ask: CaptionAsk, batch: int
) -> list[OpenClipCaption]:
    told: list[OpenClipCaption] = []
    for part in torch.split(pixels, batch):
        if ask.method == "greedy":
            told += reference.greedy(part, ask.max_tokens)
        else:
            told += reference.beam(part, ask.max_tokens, ask.beams, ask.groups)
    return told


def compare(
    told: Sequence[OpenClipCaption], captioner: Captioner, pixels: Tensor, ask: CaptionAsk, batch: int
) -> Parity:
    parity = Parity()
    for expected, found in zip(told, captions(captioner, pixels, ask, batch), strict=True):
        differ = _differing(expected.ids, found)
        narrow = bool(differ) and expected.margin < NARROW
        parity += Parity(1, int(not differ), 0 if narrow else differ, int(narrow))
    return parity


def _differing(one: tuple[int, ...], other: tuple[int, ...]) -> int:
    shared = sum(a != b for a, b in zip(one, other, strict=False))
    return shared + abs(len(one) - len(other))
