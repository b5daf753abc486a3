"""What a cache of texts is: keys and values of self-attention, of rows that stand in places.

R rows are P places with `lanes` rows each. N layers of width W. T cached tokens; H heads of D.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from clip_core.networks.coca_decoder import LayeredPast

LENGTHS = 8  # tokens that lengths are rounded up to


@dataclass(frozen=True)
class CacheShape:
    layers: int
    width: int
    heads: int
    dtype: torch.dtype
    context: int

    @property
    def token_bytes(self) -> int:
        """Of one token of one row."""
        return self.layers * 2 * self.width * self.dtype.itemsize


Past = Tensor | LayeredPast  # the tensor is (T, N, 2, R, W)


class TextCache(Protocol):
    """Positions are given with each write, so a rejected token is overwritten by the next one at its position."""

    lanes: int

    @property
    def bytes(self) -> int:
        """What no other cache can have: reserved, or taken from a pool."""

    @property
    def resident(self) -> int:
        """Bytes in memory, as the kernel counts."""

    @property
    def stored_tokens(self) -> int:
        """Tokens of rows that it stores, shared ones once."""

    @property
    def span(self) -> int:
        """How many tokens `past` gives: the longest row's, rounded up."""

    def to_admit(self, places: int, length: int, most: int, /) -> int:
        """More bytes with `places`, one more of them taken by rows of `length` tokens soon, and `most` at the end."""

    def to_append(self, rows: Sequence[int], positions: Sequence[int], leaders: Sequence[int] | None, /) -> int:
        """More bytes for that `append`."""

    def alone(self, most: int) -> int:
        """Bytes of one place in an empty cache when its rows have `most` tokens."""

    def resize(self, kept: Sequence[int], places: int, most: int, /) -> None:
        """Have `places` places; those of `kept`, in ascending order, become the first ones."""

    def clear(self, place: int, soon: int = 0, /) -> None:
        """Its rows are empty, and have `soon` tokens before others are asked to give way."""

    def append(
        self, kept: Tensor, rows: Sequence[int], positions: Sequence[int], leaders: Sequence[int] | None = None, /
    ) -> None:
        """kept (N, 2, A, W): tokens of `rows`, each at its position. A row may come more than once.

        `leaders`: for each entry the row that has the same tokens up to there; itself, or an earlier one. Raises
        OutOfBlocks, and has written nothing then.
        """

    def reorder(self, place: int, parents: Sequence[int]) -> None:
        """The rows of a place go on from its rows `parents`."""

    def past(self, span: int) -> Past:
        """The first `span` tokens of every row; what a row has not written is zeros or an older row's."""


def rounded(tokens: int) -> int:
    return max(1, -(-tokens // LENGTHS)) * LENGTHS
