"""A token tree: what may follow the text so far. One pass of the decoder reads all of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Bits: TypeAlias = NDArray[np.bool_]
Ids: TypeAlias = NDArray[np.int64]


@dataclass
class TokenTree:
    """Node 0 is the last token of the text; every other node follows its parent, which stands before it."""

    tokens: list[int]
    parents: list[int] = field(default_factory=lambda: [0])
    depths: list[int] = field(default_factory=lambda: [0])
    _children: dict[tuple[int, int], int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.tokens)

    def child(self, node: int, token: int) -> int | None:
        return self._children.get((node, token))

    def add(self, node: int, token: int) -> int:
        """→ the child of `node` that says `token`, made where it is not there yet."""
        known = self.child(node, token)
        if known is not None:
            return known
        self.tokens.append(token)
        self.parents.append(node)
        self.depths.append(self.depths[node] + 1)
        self._children[node, token] = len(self.tokens) - 1
        return len(self.tokens) - 1


def packed(trees: Sequence[TokenTree]) -> tuple[Bits, Ids, Ids]:
    """→ which node sees which, its ancestors and itself (P, L, L), tokens and depths (P, L) of the widest tree's width.

    Nodes of padding say what the root says, and see themselves.
    """
    width = max(map(len, trees))
    seen = np.zeros((len(trees), width, width), dtype=bool)
    seen[:, range(width), range(width)] = True
    tokens = np.empty((len(trees), width), dtype=np.int64)
    depths = np.zeros((len(trees), width), dtype=np.int64)
    for place, tree in enumerate(trees):
        tokens[place], tokens[place, : len(tree)] = tree.tokens[0], tree.tokens
        depths[place, : len(tree)] = tree.depths
        own = seen[place]
        for node in range(1, len(tree)):
            own[node] |= own[tree.parents[node]]
    return seen, tokens, depths
