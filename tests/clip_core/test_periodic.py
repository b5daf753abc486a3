"""Work that fails once is done again the next time."""

from __future__ import annotations

import threading

from clip_core.periodic import Periodic


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
