"""When a choice made from a draft's pass is surely the one that a plain step makes.

The two passes add the same numbers in another order, so their scores differ by rounding. `spread` bounds by how much
the distance of any two scores may differ between them; a choice that is clearer than that is the same in both. With
`spread` s the ratio of any two probabilities is known up to a factor of e^±s.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


def leads(scores: Tensor, spread: float) -> bool:
    """Whether the best of (V,) is ahead of the second by more than `spread`. -inf never counts as near."""
    if len(scores) < 2:
        return True
    best, second = torch.topk(scores, 2).values.tolist()
    return math.isfinite(best) and best - second > spread


def kept_bounds(scores: Tensor, count: int, share: float, spread: float) -> tuple[Tensor, Tensor]:
    """Of (V,) those surely and those possibly kept by top-k and then top-p, two of (V,) bool.

    `count` 0 and `share` 1 keep all.
    """
    rows = scores.double()
    ordered = torch.sort(rows).values
    size = len(rows)
    maybe_above = size - torch.searchsorted(ordered, rows - spread) - 1
    surely_above = size - torch.searchsorted(ordered, rows + spread, right=True)
    there = rows.isfinite()
    sure, possible = there.clone(), there
    if 0 < count < size:
        sure, possible = there & (maybe_above < count), there & (surely_above < count)
    if share < 1:
        chances = rows.softmax(dim=-1)
        sums = torch.cat([chances.new_zeros(1), ordered.flip(0).softmax(dim=-1).cumsum(dim=-1)])
        factor = math.exp(min(spread, 100.0))
        most = factor * (sums[maybe_above + 1] - chances) / chances[sure].sum()
        least = sums[surely_above] / factor / chances[possible].sum()
        sure, possible = sure & (most.nan_to_num(1.0) < share), possible & (least < share)
    return sure, possible
