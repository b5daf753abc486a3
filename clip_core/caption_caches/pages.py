"""Memory straight from the kernel: zeros that take no page until they are written, and can be given back by the page.

torch's own zeros are written at once, so a tensor of theirs is resident as a whole from its first moment.
"""

from __future__ import annotations

import mmap
from collections.abc import Sequence
from contextlib import suppress
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

_NO_RESERVE = 0x4000  # Linux's MAP_NORESERVE: an address range is no promise of memory
_PRESENT, _EXCLUSIVE = 63, 56  # bits of /proc/self/pagemap; the page of zeros that all share is not exclusive


def zeros_on_demand(shape: Sequence[int], dtype: torch.dtype) -> Tensor:
    """A tensor of zeros; what is only read stays the kernel's one page of zeros."""
    size = prod(shape) * dtype.itemsize
    if size == 0 or not hasattr(mmap, "MAP_PRIVATE"):
        return torch.zeros(*shape, dtype=dtype)
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _NO_RESERVE
    buffer: Any = mmap.mmap(-1, size, flags=flags)
    return torch.frombuffer(buffer, dtype=dtype, count=prod(shape)).view(*shape)


def resident_bytes_of(tensor: Tensor) -> int:
    """How much of a tensor's storage is in memory of its own; 0 where the system does not tell."""
    storage = tensor.untyped_storage()
    first = storage.data_ptr() // mmap.PAGESIZE
    last = -(-(storage.data_ptr() + storage.nbytes()) // mmap.PAGESIZE)
    with suppress(OSError):
        with Path("/proc/self/pagemap").open("rb", buffering=0) as pagemap:
            pagemap.seek(first * 8)
            entries = np.frombuffer(pagemap.read((last - first) * 8), dtype=np.uint64)
        own = (entries >> np.uint64(_PRESENT)) & (entries >> np.uint64(_EXCLUSIVE)) & np.uint64(1)
        return int(own.sum()) * mmap.PAGESIZE
    return 0
