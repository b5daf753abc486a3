"""glibc's heap, told to give back what large work leaves free in it.

By default every thread gets an arena of its own and keeps it, and the size from which blocks are mapped, and so are
given back at once, grows with the blocks that were freed: what a service had once taken in stayed in arenas that nobody
used (docs/decisions/027). Elsewhere than on glibc nothing here does anything.
"""

from __future__ import annotations

import ctypes
import gc
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

MB = 1 << 20
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8  # malloc.h
_MAPPED_FROM = 4 * MB  # above the blocks that a scan takes for its scores, which are used again at once
_ARENAS = 2
_LOOK_S, _AT_LEAST_S = 1.0, 30.0
_MOVED_PAGES = 8 * MB // 4096
_YOUNG, _ALL = 1, 2  # generations


def frugal(mapped_from: int = _MAPPED_FROM) -> None:
    """To be called before there are threads."""
    with suppress(OSError, AttributeError):
        libc = ctypes.CDLL(None)
        libc.mallopt(_M_ARENA_MAX, _ARENAS)
        libc.mallopt(_M_MMAP_THRESHOLD, mapped_from)
        libc.mallopt(_M_TRIM_THRESHOLD, 2 * mapped_from)


def give_back() -> None:
    """Return free pages to the system, wherever in the heap they are; takes some milliseconds, without the GIL."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def keep_small() -> None:
    """Give back whenever the process has grown or shrunk by much, and now and then. In a thread of its own.

    What there is now stays: no garbage is looked for in it again, which makes looking short.
    """
    gc.collect()
    gc.freeze()
    threading.Thread(target=_keep_small, name="heap", daemon=True).start()


def _keep_small() -> None:
    keeper = HeapKeeper()
    while True:
        time.sleep(_LOOK_S)
        keeper.look()


class HeapKeeper:
    """Collects what ended requests leave in cycles, and gives back. All generations are looked at every 30 s at most:
    that holds the interpreter's lock for long. Else it is the two youngest, which have the latest requests' objects.
    """

    def __init__(
        self,
        collect: Callable[[int], object] = gc.collect,
        pages: Callable[[], int] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._collect, self._pages, self._clock = collect, pages or own_pages, clock
        self._seen, self._collected_all = self._pages(), clock()

    def look(self) -> None:
        """Collect and give back, if the process has grown or shrunk by much or the last full collection is long ago."""
        now = self._clock()
        full = now - self._collected_all > _AT_LEAST_S
        if not full and abs(self._pages() - self._seen) <= _MOVED_PAGES:
            return
        self._collect(_ALL if full else _YOUNG)
        give_back()
        self._seen = self._pages()
        if full:
            self._collected_all = now


def own_pages() -> int:
    """Memory pages of this process that belong to no file; 0 where the system does not tell."""
    with suppress(OSError):
        _, resident, shared, *_ = map(int, Path("/proc/self/statm").read_bytes().split())
        return resident - shared
    return 0
