"""Requests that have equally many rows: places for pictures, each with its keys and values in caches.

A step runs over all places up to the bucket in use. Places that are free are computed and thrown away, so admitting a
request copies nothing but its own picture; when a smaller bucket holds all that are left, they are moved together.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Generic, TypeVar

import torch
from torch import Tensor

from clip_core.caption_caches.cache import rounded
from clip_core.caption_caches.choice import CacheChoice
from clip_core.caption_caches.dense import bucket
from clip_core.caption_caches.store import CacheStore
from clip_core.captions.captioner import Captioner, Memory
from clip_core.speculation.tree import TokenTree, packed

T = TypeVar("T")


class Grid(Generic[T]):
    """`lanes` rows a picture. What lies in a place is the owner's business. `store` makes its caches."""

    def __init__(self, captioner: Captioner, lanes: int, store: CacheStore | None = None) -> None:
        self.captioner, self.lanes = captioner, lanes
        self.places: list[T | None] = []
        self._store = store or CacheStore(CacheChoice(), captioner.cache_shape, 64)
        self.texts, self.pictures = self._store.texts(lanes), self._store.pictures(lanes)
        self._shown = torch.empty(0)  # (R, T) float32: 0, or -inf for keys that the unimodal half hides

    @property
    def live(self) -> list[int]:
        """The places that are taken."""
        return [i for i, owner in enumerate(self.places) if owner is not None]

    @property
    def bytes(self) -> int:
        return self.texts.bytes + self.pictures.bytes if self.places else 0

    def to_admit(self, length: int, most: int) -> int:
        """More bytes for a request whose rows have `length` tokens, and `most` at their end."""
        places = len(self.places) if None in self.places else bucket(len(self.places) + 1)
        return self.texts.to_admit(places, length + 1, most) + self.pictures.to_admit(self.captioner.picture_bytes)

    def to_step(self, lengths: Sequence[int], leaders: Sequence[int] | None) -> int:
        """More bytes for that step."""
        rows = self._live_rows()
        return self.texts.to_append(rows, [lengths[row] for row in rows], _of(leaders, rows))

    def put(self, owner: T, memory: Memory, most: int = 0, length: int = 1) -> int:
        """→ its place. `length` tokens that its rows have already, `most` that they may have, where that is known."""
        if None not in self.places:
            self._resize(bucket(len(self.places) + 1), most)
        place = self.places.index(None)
        self.places[place] = owner
        self.pictures.put(place, memory.cross)
        self.texts.clear(place, length + 1)
        self._shown[self._rows(place)] = 0
        return place

    def drop(self, owner: T) -> None:
        """Its place is free; its bytes are when it was the last one, or after `tidy`."""
        place = self.places.index(owner)
        self.places[place] = None
        self.texts.clear(place)
        self.pictures.drop()
        if not self.live:
            self.texts.resize([], 0, 0)
            self.texts, self.pictures = self._store.texts(self.lanes), self._store.pictures(self.lanes)
            self.places, self._shown = [], torch.empty(0)

    def tidy(self) -> None:
        """Where a smaller bucket holds all that are left, move them together. Taking a free place again costs less."""
        size = bucket(len(self.live))
        if size < len(self.places):
            self._resize(size, 0)

    def step(self, tokens: Sequence[int], lengths: Sequence[int], leaders: Sequence[int] | None = None) -> Tensor:
        """The token that each row reads, and its position → (R, V) float32. Rows of free places read anything.

        `leaders`: for each row the first one of the same tokens so far, where the caches share.
        """
        shape = (len(self.places), self.lanes)
        ids, places, rows = torch.tensor(tokens), torch.tensor(lengths), torch.arange(len(tokens))
        self._lengthen(int(places.max()) + 2)  # a padding id may hide the key behind it
        span = min(rounded(int(places.max())), self.captioner.context_length)
        logits, kept = self.captioner.step(
            ids.view(shape),
            places.view(shape),
            self.texts.past(span),
            self._shown[:, :span].contiguous().view(*shape, span),
            self._own_shown(ids, places, rows).view(shape),
            self.pictures.tensor,
        )
        live = self._live_rows()
        kept = kept.flatten(2, 3)
        new = kept if len(live) == len(tokens) else kept[:, :, live]
        self.texts.append(new, live, [lengths[row] for row in live], _of(leaders, live))
        return logits.flatten(0, 1)

    def extend(self, trees: Sequence[TokenTree], lengths: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Read a tree in every place, of one row each, from the position of its root on.

        → logits (P, L, V), and (N, 2, P, L, W) for `keep`: nothing is kept of itself.
        """
        seen, ids, depths = map(torch.from_numpy, packed(trees))
        roots = torch.tensor(lengths)
        places = roots[:, None] + depths
        self._lengthen(int(places.max()) + 2)
        span = rounded(max(lengths))
        past = self.texts.past(span)
        past = past if isinstance(past, Tensor) else past.whole()
        own = self._own_shown(ids[:, 0], roots, torch.arange(len(trees)))
        earlier = (torch.arange(span) < roots[:, None])[:, None].expand(-1, ids.shape[1], -1)
        bias = torch.where(torch.cat([earlier, seen], dim=-1), 0.0, float("-inf"))
        hidden = self._shown.gather(1, places)
        hidden[:, 0] = own
        shown = torch.cat([self._shown[:, :span], hidden], dim=-1)[:, None]
        logits, kept = self.captioner.extend(ids, places, past, bias + shown, bias, self.pictures.tensor)
        return logits, kept

    def keep(self, kept: Tensor, nodes: Sequence[Sequence[int]], lengths: Sequence[int]) -> None:
        """Of each place's tree the nodes that became text, a path from its root on."""
        rows = [place for place, path in enumerate(nodes) for _ in path]
        columns = [node for path in nodes for node in path]
        positions = [length + i for length, path in zip(lengths, nodes, strict=True) for i in range(len(path))]
        self.texts.append(kept[:, :, rows, columns], rows, positions)

    def move(self, owner: T, parents: Sequence[int]) -> None:
        """The rows of a request go on from its rows `parents`."""
        place = self.places.index(owner)
        to = [lane for lane, parent in enumerate(parents) if parent != lane]
        if not to:
            return
        self.texts.reorder(place, parents)
        first = place * self.lanes
        self._shown[torch.tensor(to) + first] = self._shown[torch.tensor([parents[lane] for lane in to]) + first]

    def _own_shown(self, ids: Tensor, places: Tensor, rows: Tensor) -> Tensor:
        """(R,): 0, or -inf where a row's new token does not see itself. Notes which keys its id hides."""
        mask = self.captioner.decoder.pad_mask
        hidden = rows[ids == mask.pad_id]
        self._shown[hidden, places[hidden] + mask.shift] = float("-inf")
        return self._shown[rows, places]

    def _rows(self, place: int) -> slice:
        return slice(place * self.lanes, (place + 1) * self.lanes)

    def _live_rows(self) -> list[int]:
        return [row for place in self.live for row in range(place * self.lanes, (place + 1) * self.lanes)]

    def _lengthen(self, tokens: int) -> None:
        if tokens > self._shown.shape[1]:
            self._shown = _grown(self._shown, 1, rounded(tokens))

    def _resize(self, pictures: int, most: int) -> None:
        """To `pictures` places; those that are taken move together when there are fewer than before."""
        kept = self.live if pictures < len(self.places) else list(range(len(self.places)))
        self.texts.resize(kept, pictures, most)
        self.pictures.resize(kept, pictures)
        rows = [place * self.lanes + lane for place in kept for lane in range(self.lanes)]
        shown = self._shown[rows] if rows else torch.zeros(0, rounded(1))
        self._shown = _grown(shown, 0, pictures * self.lanes)
        self.places = [self.places[place] for place in kept] + [None] * (pictures - len(kept))


def _of(leaders: Sequence[int] | None, rows: Sequence[int]) -> list[int] | None:
    return None if leaders is None else [leaders[row] for row in rows]


def _grown(tensor: Tensor, dim: int, size: int) -> Tensor:
    """With zeros behind, up to `size` along `dim`."""
    sizes = list(tensor.shape)
    sizes[dim] = size
    grown = tensor.new_zeros(sizes)
    grown.narrow(dim, 0, tensor.shape[dim]).copy_(tensor)
    return grown
