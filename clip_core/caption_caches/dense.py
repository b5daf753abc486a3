"""One tensor for all rows, as long as the longest of them, or as long as any may become."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from clip_core.caption_caches.cache import CacheShape, Past, rounded
from clip_core.caption_caches.pages import resident_bytes_of, zeros_on_demand


class DenseCache:
    """`length`: "growing", "request" or "context". `by_rows`: a row's tokens together, (N, 2, R, H, T, D);
    else all rows of a token, (T, N, 2, R, W). What is reserved and not written takes no memory.
    """

    def __init__(self, shape: CacheShape, lanes: int, length: str, *, by_rows: bool) -> None:
        self.lanes, self._shape, self._length, self._by_rows = lanes, shape, length, by_rows
        self._places = self._tokens = 0
        self._lengths: list[int] = []  # of each place, in tokens; what is written and no longer used counts
        self._live: set[int] = set()
        self._tensor = torch.empty(0)

    @property
    def bytes(self) -> int:
        return self._bytes(self._places, self._tokens)

    @property
    def resident(self) -> int:
        return resident_bytes_of(self._tensor) if self._places else 0

    @property
    def stored_tokens(self) -> int:
        return sum(self._lengths[place] for place in self._live) * self.lanes

    @property
    def span(self) -> int:
        return self._rounded(max(self._lengths, default=0))

    def to_admit(self, places: int, length: int, most: int) -> int:
        return self._bytes(places, self._tokens_for(length, most)) - self.bytes

    def to_append(self, _rows: Sequence[int], positions: Sequence[int], _leaders: Sequence[int] | None) -> int:
        return self._bytes(self._places, self._tokens_for(max(positions, default=0) + 1, 0)) - self.bytes

    def alone(self, most: int) -> int:
        return self._bytes(1, self._rounded(self._shape.context if self._length == "context" else most))

    def resize(self, kept: Sequence[int], places: int, most: int) -> None:
        old, used = self._tensor, max((self._lengths[place] for place in kept), default=0)
        tokens = self._rounded(max(1, used)) if self._length == "growing" else self._tokens_for(1, most)
        new = self._zeros(places, tokens)
        if used:
            rows = [place * self.lanes + lane for place in kept for lane in range(self.lanes)]
            self._by_token(new)[:used, :, :, : len(rows)] = self._by_token(old)[:used][:, :, :, rows]
        self._live = {i for i, place in enumerate(kept) if place in self._live}
        self._lengths = [self._lengths[place] for place in kept] + [0] * (places - len(kept))
        self._tensor, self._places, self._tokens = new, places, tokens

    def clear(self, place: int, _soon: int = 0) -> None:
        rows = slice(place * self.lanes, (place + 1) * self.lanes)
        self._by_token(self._tensor)[: self._lengths[place], :, :, rows] = 0
        self._lengths[place] = 0
        self._live.discard(place)

    def append(
        self, kept: Tensor, rows: Sequence[int], positions: Sequence[int], _leaders: Sequence[int] | None = None
    ) -> None:
        if not rows:
            return
        self._lengthen(max(positions) + 1)
        for row, position in zip(rows, positions, strict=True):
            place = row // self.lanes
            self._live.add(place)
            self._lengths[place] = max(self._lengths[place], position + 1)
        at, of = torch.tensor(positions), torch.tensor(rows)
        self._by_token(self._tensor)[at, :, :, of] = self._split(kept.permute(2, 0, 1, 3))

    def reorder(self, place: int, parents: Sequence[int]) -> None:
        to = [lane for lane, parent in enumerate(parents) if parent != lane]
        if not to:
            return
        first, used = place * self.lanes, self._lengths[place]
        new = torch.tensor(to) + first
        old = torch.tensor([parents[lane] for lane in to]) + first
        tokens = self._by_token(self._tensor)[:used]
        tokens[:, :, :, new] = tokens[:, :, :, old]

    def past(self, span: int) -> Past:
        if span > self._tokens:
            self._lengthen(span)
        if self._by_rows:
            return _RowsTogether(self._tensor, span)
        return self._tensor[:span]

    def _by_token(self, tensor: Tensor) -> Tensor:
        """(T, N, 2, R, …) whatever the layout: a view."""
        return tensor.permute(4, 0, 1, 2, 3, 5) if self._by_rows else tensor

    def _split(self, kept: Tensor) -> Tensor:
        return kept.reshape(*kept.shape[:-1], self._shape.heads, -1) if self._by_rows else kept

    def _tokens_for(self, length: int, most: int) -> int:
        wanted = {"growing": length, "request": max(length, most), "context": self._shape.context}[self._length]
        return max(self._tokens, self._rounded(wanted))

    def _rounded(self, tokens: int) -> int:
        return max(tokens, min(rounded(tokens), self._shape.context))

    def _bytes(self, places: int, tokens: int) -> int:
        return places * self.lanes * tokens * self._shape.token_bytes

    def _lengthen(self, tokens: int) -> None:
        if tokens > self._tokens:
            old, used = self._tensor, max(self._lengths, default=0)
            self._tokens = self._tokens_for(tokens, 0)
            self._tensor = self._zeros(self._places, self._tokens)
            self._by_token(self._tensor)[:used] = self._by_token(old)[:used]

    def _zeros(self, places: int, tokens: int) -> Tensor:
        """Never what lay in memory: of that, 0 times NaN would remain."""
        shape, rows = self._shape, places * self.lanes
        sizes = (
            (shape.layers, 2, rows, shape.heads, tokens, shape.width // shape.heads)
            if self._by_rows
            else (tokens, shape.layers, 2, rows, shape.width)
        )
        return zeros_on_demand(sizes, shape.dtype)


@dataclass(frozen=True)
class _RowsTogether:
    """(N, 2, R, H, T, D), read as it lies."""

    tensor: Tensor
    span: int

    def layer(self, index: int) -> Tensor:
        return self.tensor[index, :, :, :, : self.span].flatten(1, 2).permute(2, 0, 1, 3)

    def whole(self) -> Tensor:
        return self.tensor[:, :, :, :, : self.span].permute(4, 0, 1, 2, 3, 5).flatten(4).contiguous()


_BUCKETS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)


def bucket(places: int) -> int:
    """How many places are made where so many are wanted, so that they are not made one by one."""
    return next((size for size in _BUCKETS if size >= places), places)
