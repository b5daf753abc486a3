"""Greedy search: open_clip's `generate(generation_type="top_k", top_k=1)`."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from clip_core.captions.ask import CaptionAsk
from clip_core.captions.search import FoundCaption, Ids, first_of_best, logprobs
from clip_core.speculation.guard import leads


class Greedy:
    """One row. As in open_clip the padding id ends a text, and the last of `max_tokens` tokens is the end."""

    def __init__(self, ask: CaptionAsk, prefix: Sequence[int], ids: Ids) -> None:
        self._ask, self._ids = ask, ids
        self._said = list(prefix)
        self._logprob = 0.0
        self.done = False
        self._ended = False

    def texts(self) -> Sequence[Sequence[int]]:
        return (self._said,)

    def take(self, logits: Tensor) -> None:
        if len(self._said) + 1 == self._ask.max_tokens:
            self._say(self._ids.end, logits)
            self.done = True
            return
        self._say(self._choose(self._allowed(logits[0])), logits)
        self.done = self._ended = self._said[-1] in (self._ids.end, self._ids.pad)

    def sure(self, logits: Tensor, spread: float) -> bool:
        """Whether `take` chooses the same of all logits whose distances differ from these by at most `spread`."""
        return len(self._said) + 1 == self._ask.max_tokens or self._sure(self._allowed(logits[0]), spread)

    def _allowed(self, logits: Tensor) -> Tensor:
        if len(self._said) >= self._ask.min_tokens:
            return logits
        scores = logits.clone()
        scores[self._ids.end] = float("-inf")
        return scores

    def _sure(self, logits: Tensor, spread: float) -> bool:
        return leads(logits, spread)

    def _choose(self, logits: Tensor) -> int:
        """(V,) → an id"""
        return first_of_best(logits)

    def _say(self, token: int, logits: Tensor) -> None:
        self._logprob += float(logprobs(logits, torch.tensor([token])))
        self._said.append(token)

    def spoken(self) -> Sequence[int]:
        return self._said

    def found(self) -> list[FoundCaption]:
        return [FoundCaption(tuple(self._said), self._logprob, self._ended)]
