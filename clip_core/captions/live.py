"""A request that waits, and one that is under way: what it has read, and which of it plain steps have read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from torch import Tensor

from clip_core.captions.ask import CaptionAsk
from clip_core.captions.caption import DraftUse
from clip_core.captions.search import CaptionSearch
from clip_core.speculation.book import DraftBook


@dataclass(eq=False)
class WaitingCaption:
    """`origin`: of its drafts. `before`: what it was when it had to give its caches to others, and goes on from."""

    id: str
    pixels: Tensor
    ask: CaptionAsk
    prefix: list[int]
    drafts: Sequence[str] = ()
    origin: str = ""
    before: LiveCaption | None = None

    @property
    def length(self) -> int:
        """Tokens of each row that are read before a new one is chosen."""
        return len(self.prefix) if self.before is None else self.before.length


@dataclass(eq=False)
class LiveCaption:
    """`read`: positions that all its rows have read, the first `exact` of them by plain steps alone. `said`: the text
    that was told so far. `replaying`: plain steps read again what a draft's pass has read, since it was near a tie.
    `number`: of its admission.
    """

    request: WaitingCaption
    search: CaptionSearch
    number: int
    book: DraftBook | None = None
    said: str = ""
    use: DraftUse = field(default_factory=DraftUse)
    read: int = 0
    exact: int = 0
    replaying: bool = False

    @property
    def id(self) -> str:
        return self.request.id

    @property
    def ask(self) -> CaptionAsk:
        return self.request.ask

    @property
    def streams(self) -> bool:
        return self.ask.streams

    @property
    def length(self) -> int:
        """Of its longest row: the others have ended."""
        return max(map(len, self.search.texts()))

    @property
    def kind(self) -> str:
        """Requests of a kind gain about as much by drafts."""
        ask, origin = self.ask, f" from {self.request.origin}" if self.request.origin else ""
        filtered = ask.top_k > 0 or ask.top_p < 1
        how = ask.method if ask.method != "sample" else f"sample at {ask.temperature:.1f}{' filtered' * filtered}"
        return how + origin

    @property
    def place(self) -> int:
        """The position that the next plain step reads."""
        return self.exact if self.replaying else self.read

    @property
    def exact_so_far(self) -> bool:
        return self.exact == self.read

    @property
    def at_its_end(self) -> bool:
        """Whether the next position to be read is the last one that is known."""
        return not self.replaying and self.read == self.length - 1

    def next_tokens(self) -> Sequence[int]:
        """What its rows read at `place`."""
        return [text[min(self.place, len(text) - 1)] for text in self.search.texts()]

    def has_read(self) -> bool:
        """Note a plain step → whether its scores are those of the next token."""
        place = self.place
        self.exact += place == self.exact
        self.read = max(self.read, place + 1)
        self.replaying = self.replaying and self.exact < self.read
        return self.read >= self.length and not self.replaying
