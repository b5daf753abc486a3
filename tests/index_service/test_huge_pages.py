"""Memory in huge pages holds what it held."""

from __future__ import annotations

import ctypes
import mmap
from pathlib import Path

import numpy as np
import pytest

from index_service.engines.huge_pages import collapse
from tests.index_service.helpers import reloaded, unit_rows

SIZE = 8 << 20
ROWS = unit_rows(4000, 64)


def huge_bytes() -> int:
    """Of this process."""
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) << 10 for line in lines if line.startswith("AnonHugePages"))


def test_what_lies_in_a_range_stays_as_it_is() -> None:
    content = np.random.default_rng(0).bytes(SIZE)
    with mmap.mmap(-1, SIZE, flags=mmap.MAP_PRIVATE) as memory:
        memory[:] = content
        before, start = huge_bytes(), ctypes.addressof(ctypes.c_char.from_buffer(memory))
        if collapse(start, start + SIZE):
            assert huge_bytes() >= before + SIZE - (4 << 20)
        assert memory[:] == content


def test_a_range_that_can_not_be_moved_is_left_alone() -> None:
    assert not collapse(0, SIZE)  # nothing is mapped there
    assert not collapse(1 << 21, (1 << 21) + 100)


@pytest.mark.parametrize("factory", ["IVF16,PQ16x4fs", "IVF16,Flat", "HNSW8", "HNSW8,SQ8", "SQ8"])
def test_a_loaded_index_finds_what_it_found(tmp_path: Path, factory: str) -> None:
    built, loaded = reloaded(factory, ROWS, tmp_path / "engine")
    for ours, before in zip(loaded.search(ROWS[:20], 10, None), built.search(ROWS[:20], 10, None), strict=True):
        assert np.array_equal(ours, before)
