"""The caches of one scheduler: made for each grid, bounded together."""

from __future__ import annotations

from clip_core.caption_caches.cache import CacheShape, TextCache
from clip_core.caption_caches.choice import CacheChoice
from clip_core.caption_caches.dense import DenseCache
from clip_core.caption_caches.paged import PagedCache, PagedPool
from clip_core.caption_caches.pictures import PictureCache


class CacheStore:
    """`most_rows` that are ever live at once. `contiguous`: passes take whole tensors only. Raises ValueError."""

    def __init__(self, choice: CacheChoice, shape: CacheShape, most_rows: int, *, contiguous: bool = False) -> None:
        choice.check(shape.context)
        self.choice, self.shape, self.most_rows, self.contiguous = choice, shape, most_rows, contiguous
        self._pool: PagedPool | None = None

    @property
    def shares(self) -> bool:
        """Whether rows that agree are to be named."""
        return self.choice.kind == "paged" and self.choice.shares

    @property
    def pool(self) -> PagedPool | None:
        return self._pool

    def texts(self, lanes: int) -> TextCache:
        kind = self.choice.kind
        if kind == "paged":
            return PagedCache(self._paged_pool(), lanes, shares=self.choice.shares)
        length = "context" if kind.startswith("static") else kind
        return DenseCache(self.shape, lanes, length, by_rows=kind == "static-rows")

    def pictures(self, lanes: int) -> PictureCache:
        in_place = self.choice.kind == "paged" and not self.contiguous
        return PictureCache(max(1, self.most_rows // lanes) if in_place else 0)

    def alone(self, rows: int, tokens: int) -> int:
        """Bytes of so many rows of so many tokens when nothing else is there."""
        if self.choice.kind == "paged":
            return rows * -(-tokens // self.choice.block) * self.choice.block * self.shape.token_bytes
        return self.texts(rows).alone(tokens)

    def forget(self) -> None:
        """Nothing is live: the pool's memory goes back."""
        self._pool = None

    def room(self, used: int) -> float:
        """Bytes that may still be taken."""
        return self.choice.budget - used if self.choice.budget else float("inf")

    def _paged_pool(self) -> PagedPool:
        if self._pool is None:
            block = self.choice.block
            most = self.most_rows * -(-self.shape.context // block)
            self._pool = PagedPool(self.shape, block, most)
        return self._pool
