"""Ways to make the same captions: plainly, and with drafts from several places."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from torch import Tensor

from clip_core.captions.ask import CaptionAsk
from clip_core.captions.caption import Caption, DraftUse
from clip_core.captions.captioner import Captioner
from clip_core.captions.scheduler import Scheduler
from clip_core.captions.speculation import Speculation
from clip_core.speculation.book import DraftBook
from clip_core.speculation.tree import TokenTree

Drafts = Sequence[Sequence[str]]


@dataclass
class CaptionsMade:
    """Captions in the order of their pictures, and what became of their drafts."""

    captions: list[Caption] = field(default_factory=list)
    uses: list[DraftUse] = field(default_factory=list)

    @property
    def tokens(self) -> list[tuple[int, ...]]:
        return [caption.tokens for caption in self.captions]

    @property
    def said(self) -> int:
        """Tokens beside the start."""
        return sum(len(caption.tokens) - 1 for caption in self.captions)

    def total(self, name: str) -> int:
        """Of a field of `DraftUse`."""
        return sum(getattr(use, name) for use in self.uses)


def captioned(
    captioner: Captioner, pixels: Tensor, asks: Sequence[CaptionAsk], drafts: Drafts, speculation: Speculation | None
) -> CaptionsMade:
    """(B, 3, H, W) uint8, all of them at once."""
    scheduler = Scheduler(captioner, most_rows=max(64, len(pixels)), speculation=speculation)
    for place, each in enumerate(zip(pixels, asks, drafts, strict=True)):
        scheduler.add(str(place), *each)
    captions, made = dict[str, Caption](), CaptionsMade()
    while not scheduler.idle:
        for event in scheduler.run(4):
            if event.error is not None:
                raise event.error
            if event.captions is not None:
                captions[event.id] = event.captions[0]
                made.uses += [] if event.drafts is None else [event.drafts]
    made.captions = [captions[str(place)] for place in range(len(pixels))]
    return made


class PromptLookup(Speculation):
    """Drafts from what the caption has said so far. Source: Saxena 2023, prompt lookup decoding."""

    def book(self, captioner: Captioner, ask: CaptionAsk, drafts: Sequence[str]) -> DraftBook | None:  # noqa: ARG002
        return _OwnText(never=(captioner.ids.start, captioner.ids.pad))


class _OwnText(DraftBook):
    def __init__(self, never: Sequence[int]) -> None:
        super().__init__([])
        self._own_never = never

    def __bool__(self) -> bool:
        return True

    def tree(self, said: Sequence[int], nodes: int, depth: int) -> TokenTree:
        return DraftBook([said], self._own_never).tree(said, nodes, depth)
