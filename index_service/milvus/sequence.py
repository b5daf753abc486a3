"""Numbers of the order of writing, which all replicas take from one clock: that of Milvus.

    40 bits of milliseconds since 2024 │ 14 bits of the clock's count within them │ 9 bits of the item in its batch

A number is taken before its item is written, so that an item may become visible after another with a larger number.
Whoever follows a collection must not pass such an item: numbers of this replica's writes under way are known
(`bound`), and those of other replicas' are waited for (`settle`).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from index_service.milvus.rpc import MilvusRpc, messages

ITEMS = 512  # that share one tick of the clock
_EPOCH_MS = 1_704_067_200_000
_COUNT_BITS, _ITEM_BITS = 14, 9
_CLOCK_BITS = 18  # of the count in Milvus' timestamps


class Sequence:
    """Of one collection in one process."""

    def __init__(self, rpc: MilvusRpc, settle_s: float) -> None:
        self._rpc, self._settle_s = rpc, settle_s
        self._lock, self._open = threading.Lock(), dict[int, int]()

    @contextmanager
    def taken(self, count: int) -> Iterator[list[int]]:
        """Ascending numbers for a batch of so many items, which are written when the block ends."""
        token = threading.get_ident()
        with self._lock:
            first = self._open[token] = self.now()
        try:
            firsts = [first, *(self.now() for _ in range(ITEMS, count, ITEMS))]
            yield [firsts[n // ITEMS] + n % ITEMS for n in range(count)]
        finally:
            with self._lock:
                del self._open[token]

    def now(self) -> int:
        """A number larger than all before, from any replica."""
        tick = self.tick()
        ms, count = tick >> _CLOCK_BITS, tick & ((1 << _COUNT_BITS) - 1)
        return ((ms - _EPOCH_MS) << (_COUNT_BITS + _ITEM_BITS)) | (count << _ITEM_BITS)

    def tick(self) -> int:
        """The time now, as Milvus' timestamps have it."""
        return int(self._rpc.call("AllocTimestamp", messages().AllocTimestampRequest()).timestamp)

    def bound(self) -> int:
        """No write of this replica under way, nor any later one, has a number up to this."""
        with self._lock:
            return min(self._open.values(), default=self.now() + 1) - 1

    def settle(self, seq: int) -> None:
        """Wait until no other replica's write of a number up to `seq` is under way any more."""
        if not self._settle_s:
            return
        age_s = ((self.now() >> (_COUNT_BITS + _ITEM_BITS)) - (seq >> (_COUNT_BITS + _ITEM_BITS))) / 1e3
        time.sleep(max(0.0, min(self._settle_s, self._settle_s - age_s)))
