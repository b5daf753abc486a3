"""When the heap's keeper collects, and how much."""

from __future__ import annotations

import itertools

from clip_core.heap import HeapKeeper


def collected(pages_a_second: int, seconds: int) -> list[int]:
    """The generations that a process collects which grows by so many pages a second."""
    seen: list[int] = []
    now, pages = itertools.count(), itertools.count(step=pages_a_second)
    keeper = HeapKeeper(seen.append, lambda: next(pages), lambda: float(next(now)))
    for _ in range(seconds):
        keeper.look()
    return seen


def test_a_process_that_grows_all_the_time_collects_all_generations_twice_a_minute_at_most():
    generations = collected(100_000, 120)
    assert len(generations) == 120
    assert 2 <= generations.count(2) <= 4
    assert set(generations) == {1, 2}


def test_a_quiet_process_collects_all_generations_now_and_then():
    assert collected(0, 120) == [2, 2, 2]
