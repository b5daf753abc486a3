"""Block tables without a tensor: which blocks of a pool hold a row's tokens, and how many rows hold a block.

Source: Kwon et al. 2023, Efficient Memory Management for Large Language Model Serving with PagedAttention.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

NOBODYS = 0  # a block that is never given out: what a table does not reach reads its zeros


class OutOfBlocks(Exception):
    """A write needs more blocks than are free."""


class BlockPool:
    """Blocks 1 to `most`. The lowest that are free go first, so that few are ever touched."""

    def __init__(self, most: int) -> None:
        self.most = most
        self._counts: dict[int, int] = {}
        self._free: list[int] = []
        self._touched = 0

    @property
    def used(self) -> int:
        return len(self._counts)

    @property
    def free(self) -> int:
        return self.most - self.used

    def count(self, block: int) -> int:
        """How many rows hold it."""
        return self._counts.get(block, 0)

    def take(self) -> tuple[int, bool]:
        """→ a block for one row, and whether others had it before. Raises OutOfBlocks."""
        if self.free == 0:
            raise OutOfBlocks(f"all {self.most} blocks are in use")
        again = bool(self._free)
        if not again:
            self._touched += 1
        block = self._free.pop() if again else self._touched
        self._counts[block] = 1
        return block, again

    def share(self, blocks: Iterable[int]) -> None:
        for block in blocks:
            self._counts[block] += 1

    def drop(self, blocks: Iterable[int]) -> None:
        for block in blocks:
            self._counts[block] -= 1
            if not self._counts[block]:
                del self._counts[block]
                self._free.append(block)


@dataclass
class BlockWrites:
    """Where writes go: a slot for each. Before them, `copies` from block to block are made, and `stale` zeroed."""

    slots: list[int] = field(default_factory=list)
    copies: list[tuple[int, int]] = field(default_factory=list)
    stale: list[int] = field(default_factory=list)
    changed: set[int] = field(default_factory=set)  # rows whose table has changed


class BlockTables:
    """The tables of the rows of one cache, over a pool that others use, too."""

    def __init__(self, pool: BlockPool, block: int, rows: int = 0) -> None:
        self.pool, self.block = pool, block
        self.rows: list[list[int]] = [[] for _ in range(rows)]

    def needed(self, rows: Sequence[int], positions: Sequence[int]) -> int:
        """Free blocks that `write` of these will take."""
        ends: dict[int, int] = {}
        touched: set[tuple[int, int]] = set()
        for row, position in zip(rows, positions, strict=True):
            ends[row] = max(ends.get(row, 0), position // self.block + 1)
            touched.add((row, position // self.block))
        more = sum(max(0, end - len(self.rows[row])) for row, end in ends.items())
        writers = Counter(self.rows[row][place] for row, place in touched if place < len(self.rows[row]))
        return more + sum(min(count, self.pool.count(block) - 1) for block, count in writers.items())

    def write(self, rows: Sequence[int], positions: Sequence[int]) -> BlockWrites:
        """A slot for each token; a block that other rows hold, too, is copied first. Raises OutOfBlocks beforehand."""
        if self.needed(rows, positions) > self.pool.free:
            raise OutOfBlocks(f"{self.pool.free} of {self.pool.most} blocks are free, too few for this step")
        written = BlockWrites()
        for row, position in zip(rows, positions, strict=True):
            table, place = self.rows[row], position // self.block
            while len(table) <= place:
                table.append(self._fresh(written))
                written.changed.add(row)
            if self.pool.count(table[place]) > 1:
                table[place] = self._own_copy(table[place], written)
                written.changed.add(row)
            written.slots.append(table[place] * self.block + position % self.block)
        return written

    def fork(self, child: int, parent: int) -> None:
        """`child` has what `parent` has."""
        if child != parent and self.rows[child] != self.rows[parent]:
            self.pool.share(self.rows[parent])
            self.pool.drop(self.rows[child])
            self.rows[child] = list(self.rows[parent])

    def reorder(self, rows: Sequence[int], parents: Sequence[int]) -> None:
        """All at once: each of `rows` has what its parent had."""
        olds = [self.rows[row] for row in rows]
        news = [list(self.rows[parent]) for parent in parents]
        for new in news:
            self.pool.share(new)
        for old in olds:
            self.pool.drop(old)
        for row, new in zip(rows, news, strict=True):
            self.rows[row] = new

    def clear(self, row: int) -> None:
        self.pool.drop(self.rows[row])
        self.rows[row] = []

    def _fresh(self, written: BlockWrites) -> int:
        block, again = self.pool.take()
        if again:
            written.stale.append(block)
        return block

    def _own_copy(self, shared: int, written: BlockWrites) -> int:
        block, _ = self.pool.take()
        self.pool.drop([shared])
        written.copies.append((shared, block))
        return block
