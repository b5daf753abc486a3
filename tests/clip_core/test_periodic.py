"""Work that fails once is done again the next time, or after a pause that doubles."""

from __future__ import annotations

import threading

from clip_core.periodic import Periodic, doubled


def test_a_failure_ends_no_thread() -> None:
    calls, third = [], threading.Event()

    def work() -> None:
        calls.append(1)
        if len(calls) == 3:
            third.set()
        if len(calls) < 3:
            raise RuntimeError("a full disk")

    periodic = Periodic("test", work, 0.001)
    periodic.start()
    assert third.wait(10)
    periodic.stop()


def test_pauses_double_up_to_the_longest() -> None:
    assert [doubled(0.5, times, 3.0) for times in (0, 1, 2, 3, 10**9)] == [0.5, 1.0, 2.0, 3.0, 3.0]
