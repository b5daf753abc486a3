"""What texts attend to of their pictures: one entry a place, in one tensor."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from clip_core.caption_caches.dense import bucket
from clip_core.caption_caches.pages import resident_bytes_of, zeros_on_demand


class PictureCache:
    """(M, 2, P, H, S, D). `most` 0: as many places as there are, moved when these change.

    Else an address range for `most` of them is kept, whose pages the kernel backs as pictures come, and nothing moves.
    """

    def __init__(self, most: int = 0) -> None:
        self._most, self._places, self._taken = most, 0, 0
        self._tensor = torch.empty(0)

    @property
    def tensor(self) -> Tensor:
        """(M, 2, P, H, S, D) of the places there are."""
        return self._tensor[:, :, : self._places]

    @property
    def bytes(self) -> int:
        return self._a_picture * (self._taken if self._most else self._places)

    @property
    def live_bytes(self) -> int:
        return self._a_picture * self._taken

    @property
    def resident(self) -> int:
        return resident_bytes_of(self._tensor) if self._tensor.numel() else 0

    def to_admit(self, picture_bytes: int) -> int:
        """More bytes for one more."""
        if self._most or self._taken < self._places:
            return picture_bytes if self._most else 0
        return (bucket(self._places + 1) - self._places) * picture_bytes

    def resize(self, kept: Sequence[int], places: int) -> None:
        old, self._places = self._tensor, places
        if not old.numel():
            return
        if places <= self._most:
            for place, before in enumerate(kept):
                if place != before:
                    old[:, :, place] = old[:, :, before]
            return
        self._tensor = _zeros(old, places)
        self._tensor[:, :, : len(kept)] = old[:, :, list(kept)]
        self._most = places if self._most else 0

    def put(self, place: int, picture: Tensor) -> None:
        """picture (M, 2, 1, H, S, D)"""
        if not self._tensor.numel():
            self._tensor = _zeros(picture, max(self._most, self._places))
        self._tensor[:, :, place] = picture[:, :, 0]
        self._taken += 1

    def drop(self) -> None:
        """One place is free."""
        self._taken -= 1

    @property
    def _a_picture(self) -> int:
        return self._tensor.nbytes // self._tensor.shape[2] if self._tensor.numel() else 0


def _zeros(like: Tensor, places: int) -> Tensor:
    return zeros_on_demand([*like.shape[:2], places, *like.shape[3:]], like.dtype)
