"""Texts of a batch → forward passes: one for all, or short and long texts apart where the padding saved pays for it."""

from __future__ import annotations

from collections.abc import Sequence


def plan(lengths: Sequence[int], buckets: Sequence[int], max_batch: int, pass_overhead_tokens: int) -> list[list[int]]:
    """Groups of places in `lengths` (tokens of each text), each one forward pass of at most `max_batch` texts.

    A pass pads its texts to the least of `buckets` that holds the longest. Its cost is its tokens, padding included,
    and `pass_overhead_tokens` for being a pass. Neighbouring buckets are joined where that is cheaper: the cheapest cut
    of the texts in order of their buckets, found by dynamic programming over at most len(buckets) places.
    """
    order = sorted(range(len(lengths)), key=lambda i: padded(lengths[i], buckets))
    ends = [
        n
        for n in range(1, len(order) + 1)
        if n == len(order) or padded(lengths[order[n - 1]], buckets) != padded(lengths[order[n]], buckets)
    ]
    best: list[tuple[float, list[int]]] = [(0.0, [])]
    starts = [0, *ends[:-1]]
    for end in ends:
        longest = padded(lengths[order[end - 1]], buckets)
        options = [
            (best[i][0] + _cost(end - start, longest, max_batch, pass_overhead_tokens), [*best[i][1], end])
            for i, start in enumerate(starts)
            if start < end
        ]
        best.append(min(options, key=lambda option: option[0]))
    cuts = best[-1][1]
    groups = [order[start:end] for start, end in zip([0, *cuts], cuts, strict=False)]
    return [group[i : i + max_batch] for group in groups for i in range(0, len(group), max_batch)]


def padded(length: int, buckets: Sequence[int]) -> int:
    """The least bucket that holds `length`; the largest when none does."""
    return next((bucket for bucket in buckets if length <= bucket), buckets[-1])


def _cost(texts: int, longest: int, max_batch: int, pass_overhead_tokens: int) -> float:
    return texts * longest + -(-texts // max_batch) * pass_overhead_tokens
