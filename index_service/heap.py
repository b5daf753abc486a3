"""glibc's heap, told to give back what writes and merges leave free in it.

By default every thread gets an arena of its own and keeps it, and the size from which blocks are mapped, and so are
given back at once, grows with the blocks that were freed: what a service had once taken in stayed in arenas that nobody
used (docs/decisions/027). Elsewhere than on glibc nothing here does anything.
"""

from __future__ import annotations

import ctypes
from contextlib import suppress

_M_MMAP_THRESHOLD, _M_ARENA_MAX = -3, -8  # malloc.h
_MAPPED_FROM = 4 << 20  # above the blocks that a scan takes for its scores, which are used again at once
_ARENAS = 2


def frugal() -> None:
    """To be called before there are threads."""
    with suppress(OSError, AttributeError):
        libc = ctypes.CDLL(None)
        libc.mallopt(_M_ARENA_MAX, _ARENAS)
        libc.mallopt(_M_MMAP_THRESHOLD, _MAPPED_FROM)


def give_back() -> None:
    """Return free pages to the system, wherever in the heap they are; takes some milliseconds, without the GIL."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
