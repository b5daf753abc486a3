"""An index's codes in pages of 2 MB, where Linux gives them: a scan of inverted lists then misses the TLB less.

`madvise(2)`: MADV_COLLAPSE, since 6.1, moves a range at once and whatever the system's policy on huge pages; elsewhere
it is refused, and nothing changes.
"""

from __future__ import annotations

import ctypes
from contextlib import suppress
from typing import Any

import faiss

_faiss: Any = faiss  # its stubs lack what is used here
_COLLAPSE = 25  # asm-generic/mman-common.h
_PAGE = 1 << 21


def collapse_index(index: Any) -> None:
    """The inverted lists of a FAISS index, or the codes of a flat one; takes a millisecond for each 2 MB."""
    spans = [(start, size) for start, size in _spans(index) if size]
    if spans:
        collapse(min(start for start, _ in spans), max(start + size for start, size in spans))


def collapse(start: int, end: int) -> bool:
    """Whether the memory from address `start` to `end`, whole pages of 2 MB in it, lies in such pages now."""
    first, last = -(-start // _PAGE) * _PAGE, end // _PAGE * _PAGE
    if first >= last:
        return False
    with suppress(OSError, AttributeError):
        madvise = ctypes.CDLL(None).madvise
        return int(madvise(ctypes.c_void_p(first), ctypes.c_size_t(last - first), _COLLAPSE)) == 0
    return False


def _spans(index: Any) -> list[tuple[int, int]]:
    """(address, bytes) of what a search reads."""
    ivf = _faiss.try_extract_index_ivf(index)
    if ivf is None:
        flat = _faiss.downcast_index(getattr(index, "storage", index))
        return [(int(flat.codes.data()), flat.codes.size())] if isinstance(flat, _faiss.IndexFlatCodes) else []
    lists = ivf.invlists
    sizes = [lists.list_size(place) * ivf.code_size for place in range(ivf.nlist)]
    return [(int(lists.get_codes(place)), size) for place, size in enumerate(sizes) if size]
