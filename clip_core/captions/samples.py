"""Top-k and top-p sampling: open_clip's warpers, with noise that a request brings along.

A token is the highest of scores + Gumbel noise, which is the same as drawing it from the softmax of the scores. The
noise is a function of the seed, the sample and the position alone. So a caption does not depend on what shares its
batch, and not on how often its request was tried.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from clip_core.captions.ask import CaptionAsk
from clip_core.captions.greedy import Greedy
from clip_core.captions.search import FoundCaption, Ids, first_of_best
from clip_core.speculation.guard import kept_bounds, leads

_LEAST_TEMPERATURE = 1e-6  # lower ones choose the same, and scores divided by them would overflow
_ROUNDING = 1e-4  # of scores as large as a low temperature makes them


class Samples:
    """`n` rows, each a text of its own; a row that ended waits for the others."""

    def __init__(self, ask: CaptionAsk, prefix: Sequence[int], ids: Ids) -> None:
        self._rows = [_Sample(ask, prefix, ids, sample) for sample in range(ask.n)]

    @property
    def done(self) -> bool:
        return all(row.done for row in self._rows)

    def texts(self) -> Sequence[Sequence[int]]:
        return [row.spoken() for row in self._rows]

    def take(self, logits: Tensor) -> None:
        for i, row in enumerate(self._rows):
            if not row.done:
                row.take(logits[i : i + 1])

    def sure(self, logits: Tensor, spread: float) -> bool:
        """As of `Greedy`, of a single sample."""
        return self._rows[0].sure(logits, spread)

    def spoken(self) -> Sequence[int]:
        return self._rows[0].spoken()

    def found(self) -> list[FoundCaption]:
        """In the order of their numbers, so that sample 0 is the same for every `n`."""
        return [found for row in self._rows for found in row.found()]


class _Sample(Greedy):
    def __init__(self, ask: CaptionAsk, prefix: Sequence[int], ids: Ids, sample: int) -> None:
        super().__init__(ask, prefix, ids)
        assert ask.seed is not None, "the scheduler draws a seed where none was given"
        self._seed, self._sample = ask.seed, sample
        self._temperature = max(ask.temperature, _LEAST_TEMPERATURE)

    def _choose(self, logits: Tensor) -> int:
        return first_of_best(self._noisy(kept_by_p(kept_by_k(logits, self._ask.top_k), self._ask.top_p)))

    def _sure(self, logits: Tensor, spread: float) -> bool:
        ask = self._ask
        spread_of_noisy = spread / self._temperature + _ROUNDING
        if not ask.top_k and ask.top_p >= 1:
            return leads(self._noisy(logits), spread_of_noisy)
        surely, possibly = kept_bounds(logits, ask.top_k, ask.top_p, spread)
        noisy = self._noisy(logits).masked_fill(~possibly, float("-inf"))
        return bool(surely[noisy.argmax()]) and leads(noisy, spread_of_noisy)

    def _noisy(self, kept: Tensor) -> Tensor:
        return kept / self._temperature + gumbel(self._seed, self._sample, len(self._said), len(kept))


def kept_by_k(logits: Tensor, count: int) -> Tensor:
    """The `count` highest of (V,) and all that equal the last of them, the others at -inf; 0 keeps all."""
    if not 0 < count < len(logits):
        return logits
    return logits.masked_fill(logits < torch.topk(logits, count).values[-1], float("-inf"))


def kept_by_p(logits: Tensor, share: float) -> Tensor:
    """The fewest of (V,) whose probabilities make up `share`, the others at -inf. Source: Holtzman et al. 2020."""
    if share >= 1:
        return logits
    ordered, places = torch.sort(logits, descending=True, stable=True)
    before = ordered.softmax(dim=-1).cumsum(dim=-1) - ordered.softmax(dim=-1)
    return logits.index_fill(0, places[before >= share], float("-inf"))


def gumbel(seed: int, sample: int, position: int, count: int) -> Tensor:
    """Gumbel noise (count,) float32. Philox is a generator made for keys and counters like these."""
    bits = np.random.Generator(np.random.Philox(key=[seed, sample << 32 | position]))
    uniform = torch.from_numpy(bits.random(count, dtype=np.float32)).clamp(min=1e-12)
    return -torch.log((-torch.log(uniform)).clamp(min=1e-12))
