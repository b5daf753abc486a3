"""Captions by our captioner in this process, as many pictures at once as asked for."""

from __future__ import annotations

from torch import Tensor

from benchmarks.captions.open_clip_captions import stripped
from clip_core.captions.ask import CaptionAsk
from clip_core.captions.captioner import Captioner
from clip_core.captions.scheduler import Scheduler


def captions(captioner: Captioner, pixels: Tensor, ask: CaptionAsk, batch: int) -> list[tuple[int, ...]]:
    """(B, 3, H, W) uint8 → the ids of each picture's best caption, without padding behind them."""
    found: dict[str, tuple[int, ...]] = {}
    for first in range(0, len(pixels), batch):
        scheduler = Scheduler(captioner, most_rows=batch * ask.rows, most_waiting=batch)
        for i, picture in enumerate(pixels[first : first + batch]):
            scheduler.add(str(first + i), picture, ask)
        while not scheduler.idle:
            for event in scheduler.run(4):
                if event.error is not None:
                    raise event.error
                if event.captions is not None:
                    found[event.id] = stripped(event.captions[0].tokens)
    return [found[str(i)] for i in range(len(pixels))]
