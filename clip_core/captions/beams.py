"""open_clip's diverse beam search: `generate(generation_type="beam_search")`, with transformers' scorer of 4.57.

Three things about it, each kept. Scores are sums of raw logits, not of log-probabilities, divided by the length. A
group never learns what the others chose, since no penalty for diversity is ever applied: all groups find the same, so
one of them is computed. A search goes on until no beam under way can score higher, or to `max_tokens`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from clip_core.captions.ask import CaptionAsk
from clip_core.captions.search import FoundCaption, Ids, first_best, logprobs

_UNUSED = -1e9  # the score of all beams but the first one before the first step


@dataclass(frozen=True)
class _Hypothesis:
    score: float  # of the whole text, divided by its length
    ids: tuple[int, ...]
    logprob: float
    ended: bool


class _Finished:
    """The `most` best texts that ended; source: transformers.generation.beam_search.BeamHypotheses."""

    def __init__(self, most: int) -> None:
        self._most = most
        self.kept: list[_Hypothesis] = []
        self._worst = 1e9

    def add(self, text: _Hypothesis) -> None:
        if len(self.kept) >= self._most and text.score <= self._worst:
            return
        self.kept.append(text)
        if len(self.kept) > self._most:
            ranked = sorted((each.score, i) for i, each in enumerate(self.kept))
            del self.kept[ranked[0][1]]
            self._worst = ranked[1][0]
        else:
            self._worst = min(text.score, self._worst)

    def beats(self, attainable: float) -> bool:
        """Whether there are enough, and none of a score of `attainable` would be one of them."""
        return len(self.kept) >= self._most and self._worst >= attainable

    def best_first(self) -> list[_Hypothesis]:
        return sorted(self.kept, key=lambda text: text.score)[::-1]


class Beams:
    """The beams of one group, beams / groups of them. Of equal scores the first beam's first id wins."""

    def __init__(self, ask: CaptionAsk, prefix: Sequence[int], ids: Ids) -> None:
        self._ask, self._ids, self._rows = ask, ids, ask.rows
        self._said = [list(prefix) for _ in range(self._rows)]
        self._scores = torch.full((self._rows,), _UNUSED)
        self._scores[0] = 0
        self._logprobs = [0.0] * self._rows
        self._finished = _Finished(self._rows)
        self.done = False

    def texts(self) -> Sequence[Sequence[int]]:
        return self._said

    def spoken(self) -> Sequence[int]:
        return ()

    def found(self) -> list[FoundCaption]:
        best = self._finished.best_first()[: self._ask.n]
        return [FoundCaption(each.ids, each.logprob, each.ended) for each in best]

    def take(self, logits: Tensor) -> Sequence[int] | None:
        length = len(self._said[0])
        scores = logits + self._scores[:, None]
        if length < self._ask.min_tokens:
            scores[:, self._ids.end] = float("-inf")
        flat = scores.flatten()
        candidates = first_best(flat, 2 * self._rows)
        rows, tokens = candidates // logits.shape[1], candidates % logits.shape[1]
        values = flat[candidates]
        gained = logprobs(logits[rows], tokens).tolist()
        chosen = self._choose(rows.tolist(), tokens.tolist(), values.tolist(), gained)
        if self._finished.beats(float(values.max()) / (length + 1)):
            self.done = True
            return None
        return self._go_on(chosen, rows, tokens, values, gained)

    def _choose(self, rows: list[int], tokens: list[int], values: list[float], gained: list[float]) -> list[int]:
        """The candidates that go on. One that ends the text is kept as finished when it is one of the best."""
        chosen: list[int] = []
        for rank, (row, token, value) in enumerate(zip(rows, tokens, values, strict=True)):
            if token == self._ids.end:
                if rank < self._rows:
                    said = self._said[row]
                    self._finish(said, value, len(said) + 1, self._logprobs[row] + gained[rank], ended=True)
            else:
                chosen.append(rank)
                if len(chosen) == self._rows:
                    break
        return chosen

    def _go_on(
        self, chosen: list[int], rows: Tensor, tokens: Tensor, values: Tensor, gained: list[float]
    ) -> Sequence[int]:
        parents = rows[chosen].tolist()
        self._said = [
            [*self._said[parent], token] for parent, token in zip(parents, tokens[chosen].tolist(), strict=True)
        ]
        self._scores = values[chosen]
        self._logprobs = [self._logprobs[p] + gained[rank] for p, rank in zip(parents, chosen, strict=True)]
        if len(self._said[0]) == self._ask.max_tokens:
            for said, value, logprob in zip(self._said, self._scores.tolist(), self._logprobs, strict=True):
                self._finish(said, value, len(said), logprob, ended=False)
            self.done = True
        return parents

    def _finish(self, said: list[int], value: float, length: int, logprob: float, *, ended: bool) -> None:
        ids = (*said, self._ids.end) if ended else tuple(said)
        self._finished.add(_Hypothesis(value / length, ids, logprob, ended))
