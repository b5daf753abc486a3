"""The columns of a collection's rows: numbers and byte strings that grow at the end and never change before it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from clip_core.wire import FloatArray
from index_service.engines.base import BoolArray, IntArray

_GROWTH, _RESERVED = 8, 2 << 30  # times as many rows, up to so many bytes; then twice as many


class Growing:
    """Rows of numbers appended in amortised constant time; earlier views of them stay as they were.

    The caller says where new rows begin: rows that a failed write left behind are written over.

    Room is cheap, since memory that was never written to is not taken from the system; a copy is not, while an earlier
    view holds what was copied.
    """

    def __init__(self, width: tuple[int, ...], dtype: DTypeLike, capacity: int = 256) -> None:
        self._rows: NDArray[Any] = np.empty((capacity, *width), dtype)
        self._count = 0

    def put(self, start: int, rows: NDArray[Any]) -> NDArray[Any]:
        """Let (B, …) be the rows from `start` on; all rows up to their end, (N, …), as a view."""
        check_start(start, self._count)
        end = start + len(rows)
        if end > self.capacity:
            grown = np.empty((self._room(end), *self._rows.shape[1:]), self._rows.dtype)
            grown[:start] = self._rows[:start]
            self._rows = grown
        self._rows[start:end] = rows
        self._count = end
        return self._rows[:end]

    @property
    def capacity(self) -> int:
        """Rows that there is room for."""
        return len(self._rows)

    def _room(self, least: int) -> int:
        """Rows to make room for."""
        now = self.capacity
        return max(least, 2 * now, min(_GROWTH * now, _RESERVED // self._rows[:1].nbytes))


def check_start(start: int, count: int) -> None:
    """Raises RuntimeError when rows would begin behind the end of a column: they would be another item's."""
    if start > count:
        raise RuntimeError(f"rows begin at {start} in a column of {count}")


class Packed:
    """N byte strings one after the other in `data`, the i-th up to `ends[i]`: no object a row, and it can be a file."""

    def __init__(self, data: memoryview, ends: IntArray) -> None:
        self.data, self.ends = data, ends

    @classmethod
    def of(cls, rows: Sequence[bytes]) -> Packed:
        """The same strings in memory."""
        ends = np.cumsum(np.fromiter(map(len, rows), np.int64, len(rows)))
        return cls(memoryview(b"".join(rows)), ends)

    def __len__(self) -> int:
        return len(self.ends)

    def __getitem__(self, row: int) -> bytes:
        return bytes(self.data[self.ends[row - 1] if row else 0 : self.ends[row]])

    def at(self, rows: IntArray) -> list[bytes]:
        """The strings of these rows, anywhere."""
        ends = self.ends[rows]
        starts = np.where(rows == 0, 0, self.ends[rows - 1])
        return [bytes(self.data[start:end]) for start, end in zip(starts.tolist(), ends.tolist(), strict=True)]

    def sizes(self, rows: IntArray) -> IntArray:
        """(R,): the lengths of these rows' strings."""
        ends = self.ends[rows]
        sizes: IntArray = ends - np.where(rows == 0, 0, self.ends[rows - 1])
        return sizes

    @property
    def longest(self) -> int:
        """The length of the longest string; 0 without any."""
        return int(np.diff(self.ends, prepend=0).max(initial=0))

    def rows(self, start: int, end: int) -> list[bytes]:
        """Many at once."""
        first = int(self.ends[start - 1]) if start else 0
        data, ends = bytes(self.data[first : self.ends[end - 1]]), (self.ends[start:end] - first).tolist()
        return [data[begin:stop] for begin, stop in zip([0, *ends], ends, strict=False)]

    def taken(self, rows: IntArray) -> Packed:
        """The strings of these rows, copied; no Python runs for each, since a merge must leave the GIL to searches."""
        ends = self.ends[rows]
        sizes = ends - np.where(rows == 0, 0, self.ends[rows - 1])
        after = np.cumsum(sizes)
        places = np.arange(after[-1] if len(after) else 0) + np.repeat(ends - after, sizes)
        return Packed(np.frombuffer(self.data, np.uint8)[places].data, after)


class Blobs:
    """Byte strings, one a row: those of the main segment packed, later ones in a list."""

    def __init__(self, main: Packed) -> None:
        self._main, self._later, self._size = main, list[bytes](), len(main)
        self.longest, self._bytes = main.longest, len(main.data)  # the former bounds the length of every string

    def __len__(self) -> int:
        return self._size + len(self._later)

    def __getitem__(self, row: int) -> bytes:
        return self._main[row] if row < self._size else self._later[row - self._size]

    def at(self, rows: IntArray) -> list[bytes]:
        """The strings of these rows, anywhere."""
        early = rows < self._size
        if early.all():
            return self._main.at(rows)
        main, later = iter(self._main.at(rows[early])), self._later
        return [later[row] if row >= 0 else next(main) for row in (rows - self._size).tolist()]

    def sizes(self, rows: IntArray) -> IntArray:
        """(R,): the lengths of these rows' strings."""
        early = rows < self._size
        sizes = np.empty(len(rows), np.int64)
        sizes[early] = self._main.sizes(rows[early])
        sizes[~early] = [len(self._later[row]) for row in (rows[~early] - self._size).tolist()]
        return sizes

    def put(self, start: int, rows: list[bytes]) -> None:
        """Let `rows` be those from `start` on; the main segment's can't be replaced."""
        check_start(start, len(self))
        check_start(self._size, start)
        self.longest = max(self.longest, max(map(len, rows), default=0))
        self._bytes += sum(map(len, rows)) - sum(map(len, self._later[start - self._size :]))
        self._later[start - self._size :] = rows

    @property
    def mean(self) -> float:
        """The mean length of the strings; 0 without any."""
        return self._bytes / max(len(self), 1)

    def rows(self, start: int, end: int) -> list[bytes]:
        """Many at once, from `start` to before `end`."""
        split = min(end, self._size)
        packed = self._main.rows(start, split) if start < split else []
        return packed + self._later[max(start - self._size, 0) : max(end - self._size, 0)]


class Texts:
    """Strings, one a row, kept as UTF-8."""

    def __init__(self, main: Packed) -> None:
        self.blobs = Blobs(main)

    def __len__(self) -> int:
        return len(self.blobs)

    def __getitem__(self, row: int) -> str:
        return self.blobs[row].decode()

    def at(self, rows: IntArray) -> list[str]:
        """The strings of these rows, anywhere."""
        return [blob.decode() for blob in self.blobs.at(rows)]

    def put(self, start: int, rows: Iterable[str]) -> None:
        """Let `rows` be those from `start` on."""
        self.blobs.put(start, [row.encode() for row in rows])


@dataclass(frozen=True)
class RowBlock:
    """Some rows, one after the other: `seqs` (N,) ascending, `vectors` (N, D), `ids` in UTF-8, `metadata` JSON text."""

    seqs: IntArray
    vectors: FloatArray
    ids: Packed
    metadata: Packed

    def taken(self, rows: IntArray) -> RowBlock:
        """The rows of these numbers, ascending, copied."""
        return RowBlock(self.seqs[rows], self.vectors[rows], self.ids.taken(rows), self.metadata.taken(rows))


def matched(seqs: IntArray, others: IntArray) -> tuple[IntArray, BoolArray]:
    """For each of `seqs` (N,) its place among `others` (M,), and whether it is there; both ascending.

    The place of one that isn't there is that of some other.
    """
    if not len(others):
        return np.zeros(len(seqs), np.int64), np.zeros(len(seqs), np.bool_)
    places = np.minimum(np.searchsorted(others, seqs), len(others) - 1)
    return places, others[places] == seqs


def empty_block(dim: int) -> RowBlock:
    """A block of no rows."""
    nothing = Packed(memoryview(b""), np.empty(0, np.int64))
    return RowBlock(np.empty(0, np.int64), np.empty((0, dim), np.float32), nothing, nothing)
