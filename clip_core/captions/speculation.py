"""Drafts at work: trees of tokens that are read in one pass, and accepted where the captioner would have said them.

A token is taken from a pass only where its choice is clear: clearer than what the pass's rounding can turn. Where it is
not, plain steps read again all that passes have read of that text, so that its keys and values are those of plain
decoding to the bit, and decide. So captions are token by token those without drafts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from torch import Tensor

from clip_core.captions.ask import CaptionAsk
from clip_core.captions.captioner import Captioner
from clip_core.captions.greedy import Greedy
from clip_core.captions.grid import Grid
from clip_core.captions.live import LiveCaption
from clip_core.captions.samples import Samples
from clip_core.errors import BadText
from clip_core.speculation.book import DraftBook
from clip_core.speculation.pace import DraftPace
from clip_core.speculation.tree import TokenTree

_NOTHING = TokenTree([0])
_MOST_KNOWN = 4096  # texts whose ids are kept


@dataclass
class Speculation:
    """`spread`: see `clip_core.speculation.guard`."""

    spread: float
    pace: DraftPace
    _ids: dict[str, list[int]] = field(default_factory=dict)

    def book(self, captioner: Captioner, ask: CaptionAsk, drafts: Sequence[str]) -> DraftBook | None:
        """None where nothing is drafted: a beam search keeps scores of texts that no tree holds; several samples share
        their passes as it is."""
        if not drafts or ask.rows != 1 or ask.method == "beam":
            return None
        return DraftBook(self._read(captioner, drafts), never=(captioner.ids.start, captioner.ids.pad))

    def _read(self, captioner: Captioner, drafts: Sequence[str]) -> list[list[int]]:
        """As ids; the texts of a collection come again and again."""
        if len(self._ids) > _MOST_KNOWN:
            self._ids.clear()
        for text in drafts:
            if text not in self._ids:
                self._ids[text] = _ids_of(captioner, text)
        return [ids for text in drafts if (ids := self._ids[text])]

    def width(self, grid: Grid[LiveCaption], lives: Sequence[LiveCaption]) -> int:
        """How wide the trees of the next pass are; 0: a plain step. One that is due for some row is for all.

        A book without a word is none: its passes would teach that drafts bring nothing.
        """
        if grid.lanes != 1 or not all(live.at_its_end for live in lives):
            return 0
        places, drafted = len(grid.places), [live for live in lives if live.book]
        width = self.pace.width(places, [live.kind for live in drafted], len(lives))
        if not width:
            for live in drafted:
                live.use.disappoints = self.pace.disappoints(places, live.kind)
        return width

    def sure(self, live: LiveCaption, own: Tensor) -> bool:
        """Whether scores (1, V) that came after a draft's pass are clear. If not, the text is read again."""
        assert isinstance(live.search, Greedy | Samples), "other searches have no drafts"
        if live.search.sure(own, self.spread):
            return True
        live.replaying = True
        live.use.guarded += 1
        return False

    def read_on(
        self, grid: Grid[LiveCaption], owners: Sequence[tuple[int, LiveCaption]], width: int
    ) -> list[LiveCaption]:
        """One pass. Returns those whose scores are no numbers."""
        trees, lengths = [_NOTHING] * len(grid.places), [0] * len(grid.places)
        for place, live in owners:
            trees[place], lengths[place] = _tree(live, width), live.read
        logits, kept = grid.extend(trees, lengths)
        paths: list[list[int]] = [[] for _ in trees]
        failed = []
        for place, live in owners:
            paths[place] = path = self._accept(live, trees[place], logits[place])
            if not path:
                failed.append(live)
            elif live.book:
                self._count(live, trees[place], path, width)
            live.read += len(path)
        grid.keep(kept, paths, lengths)
        return failed

    def _accept(self, live: LiveCaption, tree: TokenTree, logits: Tensor) -> list[int]:
        """The nodes that are text now, from the root on; none where the scores are no numbers."""
        path, node = list[int](), 0
        while True:
            own = logits[node : node + 1]
            if not bool(own.isfinite().all()):
                return []
            path.append(node)
            if not self.sure(live, own):
                return path
            live.search.take(own)
            following = None if live.search.done else tree.child(node, live.search.spoken()[-1])
            if following is None:
                return path
            node = following

    def _count(self, live: LiveCaption, tree: TokenTree, path: Sequence[int], width: int) -> None:
        use = live.use
        use.passes += 1
        use.drafted += len(tree) - 1
        use.accepted += len(path) - 1
        again = live.read + len(path) - live.exact if live.replaying else 0
        self.pace.learn(live.kind, width, len(path) - again)


def _ids_of(captioner: Captioner, text: str) -> list[int]:
    """None of what is no text: a draft that is of no use is no caption's error."""
    try:
        return captioner.draft(text)
    except (BadText, ValueError):
        return []


def _tree(live: LiveCaption, width: int) -> TokenTree:
    """Cut to what is left of the caption: its last token is the end, whatever is drafted."""
    said = live.search.spoken()
    if not live.book:
        return TokenTree([said[-1]])
    return live.book.tree(said, width, live.ask.max_tokens - 1 - len(said))
