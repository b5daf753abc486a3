"""A page of a listing: no more entries than were asked for, and no more bytes than an answer may have."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar

from index_service.record.store import StoredItem

K = TypeVar("K", str, int)
V = TypeVar("V")
_STEP = 128  # entries read at a time: few enough to hold, however large they are
_ENTRY_BYTES = 64  # what JSON adds to an entry


class PageLimits(NamedTuple):
    """Of one page."""

    entries: int
    bytes: int


def page_of(
    read: Callable[[K, int], Sequence[tuple[K, V]]], after: K, limits: PageLimits, size: Callable[[V], int]
) -> tuple[list[tuple[K, V]], bool]:
    """(key, entry) of those that follow `after`, one at least, and whether there are more.

    `read` gives up to so many of them in order.
    """
    page: list[tuple[K, V]] = []
    room = limits.bytes
    while True:
        wanted = min(_STEP, limits.entries + 1 - len(page))  # one more tells whether there are more
        some = read(after, wanted)
        for key, entry in some:
            room -= size(entry) + _ENTRY_BYTES
            if len(page) == limits.entries or (page and room < 0):
                return page, True
            page.append((key, entry))
        if len(some) < wanted:
            return page, False
        after = page[-1][0]


def item_size(item: StoredItem) -> int:
    """Bytes of a whole item as JSON, its vector in base64; ids count as the few bytes that they are."""
    return len(item.vector) * 4 // 3 + len(item.metadata) + len(item.source or b"")
