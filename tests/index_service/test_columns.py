"""Byte strings packed one after the other, against plain lists."""

from __future__ import annotations

import numpy as np
import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from index_service.metadata.columns import Blobs, Growing, Packed, matched

ROWS = st.lists(st.binary(max_size=5), max_size=12)


@given(ROWS, ROWS, st.data())
def test_blobs_are_a_list_of_byte_strings(main: list[bytes], later: list[bytes], data: st.DataObject) -> None:
    blobs, rows = Blobs(Packed.of(main)), main + later
    blobs.put(len(main), later)
    assert [blobs[row] for row in range(len(blobs))] == rows
    start = data.draw(st.integers(0, len(rows)))
    end = data.draw(st.integers(start, len(rows)))
    assert blobs.rows(start, end) == rows[start:end]
    places = sorted(data.draw(st.sets(st.integers(0, len(main) - 1)))) if main else []
    taken = Packed.of(main).taken(np.array(places, np.int64))
    assert [taken[row] for row in range(len(taken))] == [main[place] for place in places]
    anywhere = data.draw(st.lists(st.integers(0, len(rows) - 1))) if rows else []
    assert blobs.at(np.array(anywhere, np.int64)) == [rows[place] for place in anywhere]
    assert blobs.sizes(np.array(anywhere, np.int64)).tolist() == [len(rows[place]) for place in anywhere]
    assert blobs.longest == max(map(len, rows), default=0)
    assert blobs.mean == pytest.approx(sum(map(len, rows)) / max(len(rows), 1))


@given(st.sets(st.integers(0, 20)), st.sets(st.integers(0, 20)))
def test_each_sequence_number_is_found_where_it_is(some: set[int], others: set[int]) -> None:
    given, there = sorted(some), sorted(others)
    places, known = matched(np.array(given, np.int64), np.array(there, np.int64))
    assert known.tolist() == [seq in others for seq in given]
    assert [there[place] for place in places[known]] == [seq for seq in given if seq in others]


def test_earlier_views_of_a_growing_array_stay_as_they_were() -> None:
    growing = Growing((), np.int64, capacity=2)
    views = [growing.put(start, np.full(size, size)) for start, size in ((0, 1), (1, 3), (4, 100))]
    assert [len(view) for view in views] == [1, 4, 104]
    assert views[1].tolist() == [1, 3, 3, 3]


def test_a_growing_array_takes_the_memory_of_what_is_in_it() -> None:
    process, row = psutil.Process(), np.ones((1 << 10, 1 << 10), np.float32)  # 4 MB
    before = process.memory_info().rss
    growing = Growing((1 << 10,), np.float32)
    for n in range(17):
        rows = growing.put(n * len(row), row)
    assert growing.capacity > 4 * len(rows)
    assert process.memory_info().rss - before < 1.5 * rows.nbytes
