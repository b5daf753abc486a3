"""Blocks of one pool for the rows of all grids: a row takes a block when it needs one, rows share what they agree on.

The pool is an address range for all rows at their longest; the kernel backs the blocks that were ever written.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from clip_core.caption_caches.blocks import BlockPool, BlockTables
from clip_core.caption_caches.cache import CacheShape, rounded
from clip_core.caption_caches.pages import resident_bytes_of, zeros_on_demand


class PagedPool:
    """`most` blocks of `block` tokens, (N, 2, slots, W); block 0 is nobody's, and zeros."""

    def __init__(self, shape: CacheShape, block: int, most: int) -> None:
        self.shape, self.block = shape, block
        self.blocks = BlockPool(most)
        self.tensor = zeros_on_demand((shape.layers, 2, (most + 1) * block, shape.width), shape.dtype)

    @property
    def block_bytes(self) -> int:
        return self.block * self.shape.token_bytes

    @property
    def bytes(self) -> int:
        """Of blocks that rows hold."""
        return self.blocks.used * self.block_bytes

    @property
    def resident(self) -> int:
        return resident_bytes_of(self.tensor)

    def in_blocks(self) -> Tensor:
        """(N, 2, blocks, block, W), a view"""
        return self.tensor.view(*self.tensor.shape[:2], -1, self.block, self.shape.width)


class PagedCache:
    """The rows of one grid. `shares` False: each has blocks of its own, and beams copy them."""

    def __init__(self, pool: PagedPool, lanes: int, *, shares: bool) -> None:
        self.lanes, self._pool, self._shares = lanes, pool, shares
        self._tables = BlockTables(pool.blocks, pool.block)
        self._lengths: list[int] = []  # of each row
        self._soon: list[int] = []  # of each place: tokens that its rows were promised; 0 where it is free
        self._slots = torch.zeros(rounded(pool.shape.context), 0, dtype=torch.int64)  # (T, R)

    @property
    def bytes(self) -> int:
        """Of blocks that its rows hold."""
        return len({block for table in self._tables.rows for block in table}) * self._pool.block_bytes

    @property
    def resident(self) -> int:
        """Nothing of its own: see the pool."""
        return 0

    @property
    def stored_tokens(self) -> int:
        filled: dict[int, int] = {}
        for table, length in zip(self._tables.rows, self._lengths, strict=True):
            for place, block in enumerate(table):
                tokens = min(self._pool.block, length - place * self._pool.block)
                filled[block] = max(filled.get(block, 0), tokens)
        return sum(filled.values())

    @property
    def span(self) -> int:
        return rounded(max(self._lengths, default=0))

    def to_admit(self, _places: int, length: int, _most: int) -> int:
        """With a block more for each row that is live, so that the next steps need no preemption."""
        blocks = self._blocks(length) * self.lanes
        for place, soon in enumerate(self._soon):
            if soon:
                rows = self._tables.rows[place * self.lanes : (place + 1) * self.lanes]
                held = len({block for table in rows for block in table})
                blocks += max(0, self._blocks(soon) * self.lanes - held) + self.lanes
        return blocks * self._pool.block_bytes

    def to_append(self, rows: Sequence[int], positions: Sequence[int], leaders: Sequence[int] | None) -> int:
        mine = self._writers(rows, leaders)
        needed = self._tables.needed([rows[i] for i in mine], [positions[i] for i in mine])
        return needed * self._pool.block_bytes

    def alone(self, most: int) -> int:
        return self._blocks(most) * self.lanes * self._pool.block_bytes

    def resize(self, kept: Sequence[int], places: int, _most: int) -> None:
        rows = [place * self.lanes + lane for place in kept for lane in range(self.lanes)]
        more = places * self.lanes - len(rows)
        for row in set(range(len(self._tables.rows))) - set(rows):
            self._tables.clear(row)
        self._tables.rows = [self._tables.rows[row] for row in rows] + [[] for _ in range(more)]
        self._lengths = [self._lengths[row] for row in rows] + [0] * more
        self._soon = [self._soon[place] for place in kept] + [0] * (places - len(kept))
        slots = self._slots.new_zeros(len(self._slots), places * self.lanes)
        slots[:, : len(rows)] = self._slots[:, rows]
        self._slots = slots

    def clear(self, place: int, soon: int = 0) -> None:
        self._soon[place] = soon
        for row in range(place * self.lanes, (place + 1) * self.lanes):
            self._tables.clear(row)
            self._lengths[row] = 0
            self._slots[:, row] = 0

    def append(
        self, kept: Tensor, rows: Sequence[int], positions: Sequence[int], leaders: Sequence[int] | None = None
    ) -> None:
        mine = self._writers(rows, leaders)
        to, at = [rows[i] for i in mine], [positions[i] for i in mine]
        written = self._tables.write(to, at)
        blocks = self._pool.in_blocks()
        if written.stale:
            blocks[:, :, written.stale] = 0
        if written.copies:
            olds, news = zip(*written.copies, strict=True)
            blocks[:, :, list(news)] = blocks[:, :, list(olds)]
        self._pool.tensor[:, :, written.slots] = kept if len(mine) == len(rows) else kept[:, :, mine]
        changed = written.changed
        if leaders is not None and self._shares:
            for row, leader in zip(rows, leaders, strict=True):
                if row != leader:
                    self._tables.fork(row, leader)
                    changed.add(row)
        for row, position in zip(rows, positions, strict=True):
            self._lengths[row] = max(self._lengths[row], position + 1)
        for row in changed:
            self._find_slots(row)

    def reorder(self, place: int, parents: Sequence[int]) -> None:
        first = place * self.lanes
        to = [first + lane for lane, parent in enumerate(parents) if parent != lane]
        of = [first + parent for lane, parent in enumerate(parents) if parent != lane]
        if not to:
            return
        if self._shares:
            self._tables.reorder(to, of)
            self._slots[:, to] = self._slots[:, of]
        else:
            used = max(self._lengths[row] for row in of)
            new, old = self._slots[:used, to].flatten(), self._slots[:used, of].flatten()
            self._pool.tensor[:, :, new] = self._pool.tensor[:, :, old]

    def past(self, span: int) -> Gathered:
        slots = self._slots[:span].flatten()
        return Gathered(
            self._pool.tensor, slots, span, self._pool.tensor.new_empty(2, len(slots), self._pool.shape.width)
        )

    def _writers(self, rows: Sequence[int], leaders: Sequence[int] | None) -> list[int]:
        """Which entries are written; the others' rows follow."""
        if leaders is None or not self._shares:
            return list(range(len(rows)))
        return [i for i, (row, leader) in enumerate(zip(rows, leaders, strict=True)) if row == leader]

    def _find_slots(self, row: int) -> None:
        block, blocks = self._pool.block, torch.tensor(self._tables.rows[row])
        slots = (blocks[:, None] * block + torch.arange(block)).flatten()[: len(self._slots)]
        self._slots[: len(slots), row] = slots
        self._slots[len(slots) :, row] = 0

    def _blocks(self, tokens: int) -> int:
        return -(-tokens // self._pool.block)


@dataclass(frozen=True)
class Gathered:
    """Cached tokens brought together one layer at a time: pool (N, 2, slots, W), slots (T·R,)."""

    pool: Tensor
    slots: Tensor
    span: int
    work: Tensor  # (2, T·R, W): of one layer after the other

    def layer(self, index: int) -> Tensor:
        for part, out in zip(self.pool[index], self.work, strict=True):
            torch.index_select(part, 0, self.slots, out=out)
        return self.work.view(2, self.span, -1, self.work.shape[-1]).transpose(0, 1)

    def whole(self) -> Tensor:
        gathered = self.pool[:, :, self.slots].view(*self.pool.shape[:2], self.span, -1, self.pool.shape[-1])
        return gathered.permute(2, 0, 1, 3, 4).contiguous()
