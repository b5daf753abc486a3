"""Drafts: texts that a caption may resemble → the tokens that may come next, as a tree.

A draft is used wherever the text so far ends as the draft does somewhere: what followed there may follow here. So a
draft that goes wrong at one word is of use again after it, and parts of several drafts join. Source: He et al. 2023,
REST (suffixes of a text looked up in a data store); Miao et al. 2023, SpecInfer (token trees).
"""

from __future__ import annotations

import heapq
from collections.abc import Collection, Sequence

from clip_core.speculation.tree import TokenTree

LONGEST = 2  # tokens of a suffix that is looked up: more found less in the demo's captions
MOST_DRAFTS, MOST_TOKENS = 64, 128  # of one request; the rest is cut
_SHORTER = 0.3  # the share of the shorter suffix beside the longest that was met
_LEAST = 1e-3  # a path that is less likely is no part of a tree
Continuations = dict[int, float]


class DraftBook:
    """Of one request. Earlier drafts count more: they are of nearer neighbours. `never`: ids that no tree holds."""

    def __init__(self, drafts: Sequence[Sequence[int]], never: Collection[int] = ()) -> None:
        self._next: dict[tuple[int, ...], Continuations] = {}
        self._never = frozenset(never)
        self._cache: dict[tuple[int, ...], Continuations] = {}
        for rank, draft in enumerate(drafts[:MOST_DRAFTS]):
            self._add(draft[:MOST_TOKENS], (1 + rank) ** -0.5)

    def __bool__(self) -> bool:
        return bool(self._next)

    def tree(self, said: Sequence[int], nodes: int, depth: int) -> TokenTree:
        """At most `nodes` of them with the root, the likeliest paths first, at most `depth` tokens ahead."""
        tree = TokenTree([said[-1]])
        ends = {0: tuple(said[-LONGEST:])}
        heap: list[tuple[float, int, int, int]] = []  # -probability, order, parent, token
        order = 0

        def offer(node: int, likely: float) -> None:
            nonlocal order
            if tree.depths[node] >= depth:
                return
            for token, share in self._after(ends[node]).items():
                if likely * share >= _LEAST:
                    order += 1
                    heapq.heappush(heap, (-likely * share, order, node, token))

        offer(0, 1.0)
        while heap and len(tree) < nodes:
            negative, _, parent, token = heapq.heappop(heap)
            node = tree.add(parent, token)
            ends[node] = (*ends[parent], token)[-LONGEST:]
            offer(node, -negative)
        return tree

    def _add(self, draft: Sequence[int], weight: float) -> None:
        for place in range(1, len(draft)):
            token = draft[place]
            if token in self._never:
                continue
            for length in range(1, min(LONGEST, place) + 1):
                found = self._next.setdefault(tuple(draft[place - length : place]), {})
                found[token] = found.get(token, 0.0) + weight

    def _after(self, end: tuple[int, ...]) -> Continuations:
        """The shares of what follows: mostly those after the longest suffix that was met, the rest after shorter."""
        known = self._cache.get(end)
        if known is None:
            known = self._cache[end] = self._mixed(end)
        return known

    def _mixed(self, end: tuple[int, ...]) -> Continuations:
        mixed: Continuations = {}
        left = 1.0
        for length in range(len(end), 0, -1):
            found = self._next.get(end[-length:])
            if not found:
                continue
            part = left * (1 - _SHORTER)
            total = sum(found.values())
            for token, weight in found.items():
                mixed[token] = mixed.get(token, 0.0) + part * weight / total
            left -= part
        return mixed
