"""What all ways of searching for a caption share: rows that read a token and give the scores of the next one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor


@dataclass(frozen=True)
class Ids:
    """The special ids of a model's vocabulary; `pad` is a real token, too."""

    start: int
    end: int
    pad: int


@dataclass(frozen=True)
class FoundCaption:
    """One text: all its ids from the start on, the log-probability of those after the prefix, and whether it ended."""

    ids: tuple[int, ...]
    logprob: float
    ended: bool


class CaptionSearch(Protocol):
    """One request's search over its rows, which all stand at the same position."""

    @property
    def done(self) -> bool: ...

    def texts(self) -> Sequence[Sequence[int]]:
        """All ids of each row from the start on, so that its keys and values can be made again."""

    def take(self, logits: Tensor) -> Sequence[int] | None:
        """Scores after their last tokens, (rows, V) float32 → which row each row goes on from; None: from itself."""

    def spoken(self) -> Sequence[int]:
        """The ids so far of a search that streams."""

    def found(self) -> list[FoundCaption]:
        """At the end: the captions, best first."""


def logprobs(logits: Tensor, ids: Tensor) -> Tensor:
    """log P of `ids` (R,) under `logits` (R, V) → (R,) float32"""
    return logits.gather(1, ids[:, None])[:, 0] - logits.logsumexp(dim=-1)


def first_best(scores: Tensor, count: int) -> Tensor:
    """The places of the `count` highest of (V,), best first, of equals the first; open_clip leaves ties open."""
    count = min(count, len(scores))
    least = torch.topk(scores, count).values[-1]
    places = (scores >= least).nonzero()[:, 0]
    order = torch.sort(scores[places], descending=True, stable=True).indices
    return places[order[:count]]


def first_of_best(scores: Tensor) -> int:
    """The place of the highest of (V,), of equals the first."""
    return int((scores == scores.max()).int().argmax())
