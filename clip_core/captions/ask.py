"""What one request wants of the captioner, checked when it is made."""

from __future__ import annotations

import math
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from clip_core.errors import InvalidRequest

METHODS = ("greedy", "beam", "sample")
MOST_ROWS = 64  # texts of one picture under way at once
_MOST_TOP_K = 1_000_000


@dataclass(frozen=True)
class CaptionAsk:
    """Lengths are of the whole sequence with its start and its end, as open_clip counts. Raises InvalidRequest.

    `beams` in `groups` is open_clip's diverse beam search, whose groups do not know of each other: all find the same.
    `top_k` 0 and `top_p` 1 leave all tokens; `n` best captions of a beam search, or `n` samples.
    """

    method: str = "beam"
    prompt: str = ""
    max_tokens: int = 30
    min_tokens: int = 5
    beams: int = 6
    groups: int = 3
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    seed: int | None = None
    n: int = 1

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise InvalidRequest(f"method is one of {', '.join(METHODS)}, not {self.method!r}", param="method")
        if not isinstance(self.prompt, str):
            raise InvalidRequest("prompt is a text", param="prompt")
        _whole(self, "max_tokens", 2, 100_000)
        _whole(self, "min_tokens", 0, 100_000)
        if self.min_tokens >= self.max_tokens:
            raise InvalidRequest(
                f"min_tokens is less than max_tokens, not {self.min_tokens} and {self.max_tokens}", param="min_tokens"
            )
        _whole(self, "beams", 1, MOST_ROWS)
        _whole(self, "groups", 1, MOST_ROWS)
        if self.beams % self.groups:
            raise InvalidRequest(f"beams is a multiple of groups, not {self.beams} of {self.groups}", param="groups")
        _number(self, "temperature", 0.0, 100.0)
        _whole(self, "top_k", 0, _MOST_TOP_K)
        _number(self, "top_p", 0.0, 1.0)
        if self.seed is not None:
            _whole(self, "seed", 0, 2**63 - 1)
        _whole(self, "n", 1, MOST_ROWS)
        self._check_n()

    @classmethod
    def parse(cls, body: object) -> CaptionAsk:
        """The fields of a JSON object. Raises InvalidRequest that names an unknown one."""
        if not isinstance(body, Mapping):
            raise InvalidRequest("the settings of a caption are an object", param="caption")
        known = {field.name for field in fields(cls)}
        if unknown := sorted(str(key) for key in body if key not in known):
            raise InvalidRequest(
                f"unknown setting {unknown[0]!r}; known are {', '.join(sorted(known))}", param=unknown[0]
            )
        return cls(**{**_least(body.get("max_tokens")), **body})

    @property
    def rows(self) -> int:
        """Texts under way at once: one of greedy search, each sample, the beams of one group."""
        return {"greedy": 1, "beam": self.beams // self.groups, "sample": self.n}[self.method]

    @property
    def streams(self) -> bool:
        """Whether what was said stays said: the tokens of a beam search may change to its end."""
        return self.rows == 1

    def seeded(self) -> CaptionAsk:
        """With a seed, drawn where none was given."""
        return self if self.seed is not None else CaptionAsk(**{**vars(self), "seed": secrets.randbits(63)})

    def _check_n(self) -> None:
        if self.method == "greedy" and self.n > 1:
            raise InvalidRequest("greedy search finds one caption: n is 1", param="n")
        if self.method == "beam" and self.n > self.rows:
            raise InvalidRequest(
                f"n is at most {self.rows}: the groups find the same captions, beams / groups each",
                param="n",
            )


def _whole(ask: CaptionAsk, name: str, least: int, most: int) -> None:
    value: Any = getattr(ask, name)
    if type(value) is not int or not least <= value <= most:
        raise InvalidRequest(f"{name} is a whole number from {least} to {most}, not {value!r}", param=name)


def _number(ask: CaptionAsk, name: str, above: float, most: float) -> None:
    value: Any = getattr(ask, name)
    if type(value) not in (int, float) or not math.isfinite(value) or not above < value <= most:
        raise InvalidRequest(f"{name} is a number above {above:g}, at most {most:g}, not {value!r}", param=name)


def _least(most: object) -> dict[str, int]:
    """`min_tokens` where only `max_tokens` is said, and is too small for the usual one."""
    return {"min_tokens": 0} if isinstance(most, int) and most <= CaptionAsk.min_tokens else {}
