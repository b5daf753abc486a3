"""What texts attend to of their pictures: one entry a place, in one tensor."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from clip_core.caption_caches.dense import bucket
from clip_core.caption_caches.pages import resident_bytes_of, zeros_on_demand

_RANGE = 16  # places whose addresses are kept from the first one on; their pages come with pictures


class PictureCache:
    """Stored place by place, so that one comes and goes without moving the others.

    `most` 0: memory is given back when half of the places are. Else an address range for `most` of them is kept.
    """

    def __init__(self, most: int = 0) -> None:
        self._most, self._places, self._taken = most, 0, 0
        self._touched = 0  # places that had a picture since the memory was taken
        self._stored = torch.empty(0)  # (places or more, M, 2, H, S, D)

    @property
    def tensor(self) -> Tensor:
        """(M, 2, P, H, S, D) of the places there are: a view, contiguous when P is moved to the front."""
        return self._stored[: self._places].movedim(0, 2)

    @property
    def bytes(self) -> int:
        return self._a_picture * (self._taken if self._most else self._touched)

    @property
    def live_bytes(self) -> int:
        return self._a_picture * self._taken

    @property
    def resident(self) -> int:
        return resident_bytes_of(self._stored) if self._stored.numel() else 0

    def to_admit(self, picture_bytes: int) -> int:
        """More bytes for one more."""
        if self._most or self._taken < self._places:
            return picture_bytes if self._most else 0
        return max(0, bucket(self._places + 1) - self._touched) * picture_bytes

    def resize(self, kept: Sequence[int], places: int) -> None:
        """To so many places; what lies in those `kept`, in order, comes first."""
        old, self._places = self._stored, places
        if not old.numel():
            self._touched = places
        elif places <= len(old) and (self._most or 2 * places > self._touched):
            for place, before in enumerate(kept):
                if place != before:
                    old[place] = old[before]
            self._touched = max(self._touched, places)
        else:
            self._stored = zeros_on_demand([max(_RANGE, 2 * places), *old.shape[1:]], old.dtype)
            for place, before in enumerate(kept):
                self._stored[place] = old[before]
            self._touched = places

    def put(self, place: int, picture: Tensor) -> None:
        """picture (M, 2, 1, H, S, D)"""
        if not self._stored.numel():
            size = max(self._most or _RANGE, self._places)
            self._stored = zeros_on_demand([size, *picture[:, :, 0].shape], picture.dtype)
        self._stored[place] = picture[:, :, 0]
        self._taken += 1

    def drop(self) -> None:
        """One place is free."""
        self._taken -= 1

    @property
    def _a_picture(self) -> int:
        return self._stored.nbytes // len(self._stored) if self._stored.numel() else 0
