"""Which queries a collection remembers."""

from __future__ import annotations

import threading

import numpy as np

from index_service.collection.recent_queries import RecentQueries


def queries(*numbers: int) -> list[np.ndarray]:
    return [np.full(3, number, np.float32) for number in numbers]


def kept(recent: RecentQueries) -> list[float]:
    stacked = recent.stacked()
    return [] if stacked is None else stacked[:, 0].tolist()


def test_a_popular_query_is_kept_once_and_the_least_recent_go() -> None:
    recent = RecentQueries(most=3)
    assert recent.stacked() is None
    for query in queries(1, 2, 2, 2, 2, 1):
        recent.note(query)
    assert kept(recent) == [2, 1]
    for query in queries(3, 4):
        recent.note(query)
    assert kept(recent) == [1, 3, 4]


def test_what_the_caller_changes_later_is_not_changed_here() -> None:
    recent, (query,) = RecentQueries(), queries(7)
    recent.note(query)
    query[:] = 0
    stacked = recent.stacked()
    assert stacked is not None
    assert stacked.dtype == np.float32
    assert stacked.tolist() == [[7, 7, 7]]


def test_threads_may_add_while_another_one_reads() -> None:
    recent = RecentQueries(most=8)

    def add(first: int) -> None:
        for number in range(first, first + 500):
            recent.note(queries(number)[0])

    threads = [threading.Thread(target=add, args=(1000 * n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        assert len(kept(recent)) <= 8
    for thread in threads:
        thread.join()
    assert len(kept(recent)) == 8
