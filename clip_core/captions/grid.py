"""The caches of requests that have equally many rows: places for pictures, each with its keys and values.

A step runs over all places up to the bucket in use. Places that are free are computed and thrown away, so admitting a
request copies nothing but its own picture; when a smaller bucket holds all that are left, they are moved together.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Generic, TypeVar

import torch
from torch import Tensor

from clip_core.captions.captioner import Captioner, Memory

BUCKETS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)
_LENGTHS = 8  # tokens that the cache grows by
T = TypeVar("T")


class Grid(Generic[T]):
    """`lanes` rows a picture. What lies in a place is the owner's business."""

    def __init__(self, captioner: Captioner, lanes: int) -> None:
        self.captioner, self.lanes = captioner, lanes
        self.places: list[T | None] = []
        self._past = torch.empty(0)  # (T, N, 2, R, W)
        self._shown = torch.empty(0)  # (R, T) float32: 0, or -inf for keys that the unimodal half hides
        self._cross = torch.empty(0)  # (M, 2, P, H, S, D)

    @property
    def live(self) -> list[int]:
        """The places that are taken."""
        return [i for i, owner in enumerate(self.places) if owner is not None]

    @property
    def bytes(self) -> int:
        return self._past.nbytes + self._cross.nbytes if self.places else 0

    def put(self, owner: T, memory: Memory) -> int:
        """→ its place"""
        if None not in self.places:
            self._resize(_bucket(len(self.places) + 1))
        place = self.places.index(None)
        self.places[place] = owner
        if not self._cross.numel():
            self._cross = memory.cross.new_zeros(_wider(memory.cross.shape, 2, len(self.places)))
        self._cross[:, :, place] = memory.cross[:, :, 0]
        rows = self._rows(place)
        self._past[:, :, :, rows] = 0
        self._shown[rows] = 0
        return place

    def drop(self, owner: T) -> None:
        self.places[self.places.index(owner)] = None
        live = len(self.live)
        if not live:
            self.places, self._past, self._shown, self._cross = [], *(torch.empty(0) for _ in range(3))
        elif _bucket(live) < len(self.places):
            self._resize(_bucket(live))

    def step(self, tokens: Sequence[int], lengths: Sequence[int]) -> Tensor:
        """The token that each row reads, and its position → (R, V) float32. Rows of free places read anything."""
        shape = (len(self.places), self.lanes)
        ids, places, rows = torch.tensor(tokens), torch.tensor(lengths), torch.arange(len(tokens))
        self._lengthen(int(places.max()) + 2)  # a padding id may hide the key behind it
        span = _rounded(int(places.max()))
        logits, kept = self.captioner.step(
            ids.view(shape),
            places.view(shape),
            self._past[:span].view(span, *self._past.shape[1:3], *shape, -1),
            self._shown[:, :span].contiguous().view(*shape, span),
            self._own_shown(ids, places, rows).view(shape),
            self._cross,
        )
        self._past[places, :, :, rows] = kept.flatten(2, 3).permute(2, 0, 1, 3)
        return logits.flatten(0, 1)

    def move(self, owner: T, parents: Sequence[int]) -> None:
        """The rows of a request go on from its rows `parents`."""
        first = self.places.index(owner) * self.lanes
        to = [lane for lane, parent in enumerate(parents) if parent != lane]
        if not to:
            return
        new = torch.tensor(to) + first
        old = torch.tensor([parents[lane] for lane in to]) + first
        self._past[:, :, :, new] = self._past[:, :, :, old]
        self._shown[new] = self._shown[old]

    def _own_shown(self, ids: Tensor, places: Tensor, rows: Tensor) -> Tensor:
        """(R,): 0, or -inf where a row's new token does not see itself. Notes which keys its id hides."""
        mask = self.captioner.decoder.pad_mask
        hidden = rows[ids == mask.pad_id]
        self._shown[hidden, places[hidden] + mask.shift] = float("-inf")
        return self._shown[rows, places]

    def _rows(self, place: int) -> slice:
        return slice(place * self.lanes, (place + 1) * self.lanes)

    def _lengthen(self, tokens: int) -> None:
        if tokens > len(self._past):
            self._past = _grown(self._past, 0, _rounded(tokens))
            self._shown = _grown(self._shown, 1, _rounded(tokens))

    def _resize(self, pictures: int) -> None:
        """To `pictures` places; those that are taken move together when there are fewer than before."""
        decoder = self.captioner.decoder
        if not self.places:
            rows = pictures * self.lanes
            self._past = torch.zeros(_LENGTHS, decoder.layers, 2, rows, decoder.width, dtype=decoder.cache_dtype)
            self._shown = torch.zeros(rows, _LENGTHS)
            self.places = [None] * pictures
            return
        kept = torch.tensor(self.live if pictures < len(self.places) else range(len(self.places)))
        moved = (kept[:, None] * self.lanes + torch.arange(self.lanes)).flatten()
        owners = [self.places[place] for place in kept.tolist()]
        self.places = owners + [None] * (pictures - len(owners))
        self._past = _grown(self._past[:, :, :, moved], 3, pictures * self.lanes)
        self._shown = _grown(self._shown[moved], 0, pictures * self.lanes)
        self._cross = _grown(self._cross[:, :, kept], 2, pictures)


def _bucket(pictures: int) -> int:
    return next((size for size in BUCKETS if size >= pictures), pictures)


def _rounded(tokens: int) -> int:
    return max(1, -(-tokens // _LENGTHS)) * _LENGTHS


def _wider(shape: Sequence[int], dim: int, size: int) -> list[int]:
    return [size if i == dim else length for i, length in enumerate(shape)]


def _grown(tensor: Tensor, dim: int, size: int) -> Tensor:
    """With zeros behind, up to `size` along `dim`: never what lay in memory, of which 0 times NaN would remain."""
    grown = tensor.new_zeros(_wider(tensor.shape, dim, size))
    grown.narrow(dim, 0, tensor.shape[dim]).copy_(tensor)
    return grown
