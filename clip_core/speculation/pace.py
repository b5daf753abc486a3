"""Whether drafts pay, and how many tokens of them to read in a pass.

A pass that reads drafts costs more than a step, and more so with many rows, whose products fill the processor, and in
some precisions. What it brings depends on the drafts. The costs are measured once, when a captioner is made ready;
what passes bring is learned from those that were made, for each origin of drafts apart: useless ones of one caller
lower no other's. Nothing here changes a token.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

WIDTHS = (8, 16, 32)  # tokens of a tree with its root
_PAYS = 1.05  # the least gain of a caption as a whole that is worth it
_STEPS = 12  # of a caption: real ones have 13 tokens
_RATE = 0.06  # how fast it learns
_FIRST_GUESS = 0.8
_LEAST, _MOST = -1.0, 2.0
_TRY_AGAIN = 200  # choices against drafts after which they are tried
_MOST_KINDS = 1024  # of which it is remembered what their drafts bring, the last learned of


@dataclass(frozen=True)
class PassCosts:
    """Of a grid of some places, in steps of it: the pass over its pictures, and passes by the width of trees."""

    pictures: float
    passes: Mapping[int, float]


@dataclass
class DraftPace:
    """`costs` by places. `quality`: what drafts brought ÷ what good ones bring, of each kind of request."""

    costs: Mapping[int, PassCosts]
    quality: dict[str, float] = field(default_factory=dict)
    _refused: int = 0

    def width(self, places: int, drafted: Sequence[str], live: int) -> int:
        """How wide trees are to be where rows of these kinds have drafts, of `live` ones; 0: a plain step."""
        costs = self._costs(places)
        if not drafted or costs is None or not costs.passes:
            return 0
        best = self._best(costs, sum(map(self._quality, drafted)) / live)
        if best:
            return best
        self._refused += 1
        return 0 if self._refused % _TRY_AGAIN else self._best(costs, _FIRST_GUESS * len(drafted) / live)

    def pays(self, places: int, kind: str) -> bool:
        """Whether drafts are worth looking for, where all rows have some."""
        costs = self._costs(places)
        return costs is not None and bool(self._best(costs, self._quality(kind)))

    def disappoints(self, places: int, kind: str) -> bool:
        """Whether good drafts would pay where those of this kind do not."""
        costs = self._costs(places)
        return costs is not None and bool(self._best(costs, _FIRST_GUESS)) and not self.pays(places, kind)

    def learn(self, kind: str, width: int, tokens: float) -> None:
        """One row's pass brought so many tokens, less the steps that it cost afterwards."""
        found = min(_MOST, max(_LEAST, (tokens - 1) / _brings(width)))
        known = self._quality(kind)
        self.quality.pop(kind, None)
        self.quality[kind] = known + _RATE * (found - known)
        if len(self.quality) > _MOST_KINDS:
            del self.quality[next(iter(self.quality))]

    def _quality(self, kind: str) -> float:
        return self.quality.get(kind, _FIRST_GUESS)

    def _best(self, costs: PassCosts, quality: float) -> int:
        """The width of the fastest caption, 0 where a plain one is.

        Drafts are found by a vector of the picture, which is another pass over it.
        """
        plain = costs.pictures + _STEPS
        times = {
            width: 2 * costs.pictures + _STEPS * cost / max(0.1, 1 + quality * _brings(width))
            for width, cost in costs.passes.items()
        }
        best = min(times, key=lambda width: times[width], default=0)
        return best if best and plain >= _PAYS * times[best] else 0

    def _costs(self, places: int) -> PassCosts | None:
        """Of the next larger grid that was measured; none of larger ones than those."""
        measured = [size for size in sorted(self.costs) if size >= places]
        return self.costs[measured[0]] if measured else None


def _brings(width: int) -> float:
    """Tokens beside the one of a plain step, of good drafts."""
    return 0.56 * math.log2(width)


def always(width: int) -> DraftPace:
    """Trees of that width for every row count up to 64: for tests and measurements."""
    return DraftPace({64: PassCosts(0.0, {width: 0.0})})
