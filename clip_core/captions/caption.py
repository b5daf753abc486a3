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


@dataclass(frozen=True)
class Event:
    """News of one request: text that is new, and at its end the captions, best first, or the error.

    The deltas of a request that streams make up its text.
    """

    id: str
    delta: str = ""
    captions: tuple[Caption, ...] | None = None
    error: ClipServeError | None = None

    @property
    def over(self) -> bool:
        return self.captions is not None or self.error is not None
