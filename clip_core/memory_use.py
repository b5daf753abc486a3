"""Whose the memory of this process is. Elsewhere than on Linux, or on glibc, what isn't known is left out."""

from __future__ import annotations

import ctypes
import os
from contextlib import suppress
from pathlib import Path

_FIELDS = ("arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost")


class _MallInfo2(ctypes.Structure):
    """malloc.h's `struct mallinfo2`: of all arenas."""

    _fields_ = [(name, ctypes.c_size_t) for name in _FIELDS]


def memory_by_owner() -> dict[str, int]:
    """Bytes in memory. `files`: what is mapped, such as segments and libraries; `heap`: what malloc has given out;
    `free_heap`: what its arenas keep for later; `other`: the rest, such as Python's own objects and stacks.
    """
    found, (heap, free) = _resident(), _heap()
    if not found:
        return {}
    anonymous = found.get("RssAnon", 0)
    free = min(free, anonymous)
    heap = min(heap, anonymous - free)  # what was given out and never touched is not in memory
    return {
        "files": found.get("RssFile", 0) + found.get("RssShmem", 0),
        "heap": heap,
        "free_heap": free,
        "other": anonymous - heap - free,
    }


def total_bytes(limit: Path = Path("/sys/fs/cgroup/memory.max")) -> int:
    """Memory that the machine has, or that this container may use (cgroup v2)."""
    machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    try:
        return min(machine, int(limit.read_text(encoding="ascii")))
    except (OSError, ValueError):  # no cgroup v2, or the limit is "max"
        return machine


def resident_bytes(process: int | str = "self") -> int:
    """All that this process, or another one, has in memory; 0 where the system does not tell."""
    return sum(_resident(process).values())


def _resident(process: int | str = "self") -> dict[str, int]:
    """RssAnon, RssFile and RssShmem in bytes."""
    with suppress(OSError, ValueError):
        rows = (
            line.split()
            for line in Path(f"/proc/{process}/status").read_text(encoding="ascii", errors="replace").splitlines()
        )
        return {row[0][:-1]: int(row[1]) * 1024 for row in rows if row and row[0].startswith("Rss")}
    return {}


def _heap() -> tuple[int, int]:
    """Bytes that malloc has given out, and that it keeps."""
    with suppress(OSError, AttributeError):
        mallinfo2 = ctypes.CDLL(None).mallinfo2
        mallinfo2.restype = _MallInfo2
        told = mallinfo2()
        return told.uordblks + told.hblkhd, told.fordblks
    return 0, 0
