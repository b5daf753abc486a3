"""CLIP's byte-pair encoding of a word in n·log n steps, and a cache of words that stays small.

open_clip's own takes a number of steps that grows with the square of the word's length, and keeps every word for ever.
"""

from __future__ import annotations

import functools
import heapq
import itertools
from collections.abc import Mapping

_CACHED_WORDS = 16_384
_CACHED_LENGTH = 64  # so that the cache takes less than 10 MB
_END = "</w>"
Ranks = Mapping[tuple[str, str], int]


class BytePairs:
    """Stands for the method `bpe` of open_clip's SimpleTokenizer: a word's bytes as text → its tokens, with spaces."""

    def __init__(self, ranks: Ranks, special: Mapping[str, str]) -> None:
        self._ranks, self._special = ranks, special
        self._cached = functools.lru_cache(_CACHED_WORDS)(self._encode)

    def __call__(self, word: str) -> str:
        return self._cached(word) if len(word) <= _CACHED_LENGTH else self._encode(word)

    def _encode(self, word: str) -> str:
        return self._special.get(word) or " ".join(merged([*word[:-1], word[-1] + _END], self._ranks))


def merged(parts: list[str], ranks: Ranks) -> list[str]:
    """`parts` with the pair of the least rank joined, again and again, the leftmost of equal ones first.

    A merge's own product is only in later merges, so this is the same as joining all equal pairs in one sweep.
    """
    following = [*range(1, len(parts)), -1]
    preceding = [*range(-1, len(parts) - 1)]
    alive = list(parts)
    heap = [(ranks[pair], i, pair) for i, pair in enumerate(itertools.pairwise(parts)) if pair in ranks]
    heapq.heapify(heap)

    def offer(left: int, right: int) -> None:
        if left >= 0 and right >= 0 and (rank := ranks.get((alive[left], alive[right]))) is not None:
            heapq.heappush(heap, (rank, left, (alive[left], alive[right])))

    while heap:
        _, left, pair = heapq.heappop(heap)
        right = following[left]
        if right < 0 or (alive[left], alive[right]) != pair:
            continue
        alive[left], alive[right] = pair[0] + pair[1], ""
        following[left] = following[right]
        if following[right] >= 0:
            preceding[following[right]] = left
        offer(preceding[left], left)
        offer(left, following[left])
    return [part for part in alive if part]
