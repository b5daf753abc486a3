"""What the captioner answers."""

from __future__ import annotations

from dataclasses import dataclass

from clip_core.errors import ClipServeError


@dataclass(frozen=True)
class Caption:
    """`tokens` are all ids from the start on, with the end where there is one. `text` begins with the prompt.

    `logprob` is the model's own log-probability of what follows the prompt, whatever the sampling's settings.
    `finish`: "stop" when the text ended by itself, "length" at `max_tokens`.
    """

    text: str
    logprob: float
    tokens: tuple[int, ...]
    finish: str


@dataclass
class DraftUse:
    """What became of a request's drafts: tokens that were tried, those of them that the captioner would have said, the
    passes that read them, and positions too near a tie to tell, which plain steps decided. `disappoints`: good drafts
    would have been read; those of this origin bring too little, or hold no word."""

    drafted: int = 0
    accepted: int = 0
    passes: int = 0
    guarded: int = 0
    disappoints: bool = False


@dataclass(frozen=True)
class Event:
    """News of one request: text that is new, and at its end the captions, best first, or the error.

    The deltas of a request that streams make up its text. `drafts` comes with the captions of a request that had some.
    """

    id: str
    delta: str = ""
    captions: tuple[Caption, ...] | None = None
    error: ClipServeError | None = None
    drafts: DraftUse | None = None

    @property
    def over(self) -> bool:
        return self.captions is not None or self.error is not None
