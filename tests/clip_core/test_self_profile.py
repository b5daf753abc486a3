"""A process's profile of itself: who used the processor, what is held, one at a time."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from clip_core.errors import BadInput, Conflict
from clip_core.self_profile import SelfProfiler
from tests.waiting import until


@contextmanager
def busy() -> Iterator[None]:
    """A thread that computes, and one that waits."""
    ended = threading.Event()

    def compute() -> None:
        while not ended.is_set():
            sum(range(1000))

    threads = [threading.Thread(target=compute), threading.Thread(target=ended.wait)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        ended.set()
        for thread in threads:
            thread.join()


def test_what_computes_is_seen_and_what_waits_is_not() -> None:
    found: dict[str, Any] = {}
    with busy():
        until(lambda: found.update(SelfProfiler().take(0.5)) or found["stacks"])  # it may be held up
    top = found["stacks"][0]
    assert any(name.endswith(".compute") for name in top["frames"])
    assert 0 < top["ms"] <= found["cpu_ms"] * 1.2
    assert not any("wait" in name for name in top["frames"])
    assert "memory" not in found
    assert found["timeline"][0][1] > 1e6


def test_what_is_allocated_meanwhile_is_told_by_its_line() -> None:
    kept: list[bytearray] = []
    profiler, found = SelfProfiler(), dict[str, object]()
    taking = threading.Thread(target=lambda: found.update(profiler.take(0.5, memory=True)))
    taking.start()
    until(lambda: _is_tracing(profiler))
    kept.append(bytearray(30_000_000))
    taking.join()
    (most, *_) = found["memory"]  # type: ignore[misc]
    assert most["bytes"] >= 30_000_000
    assert "test_self_profile.py" in most["where"]
    assert not any("/clip_core/self_profile.py" in each["where"] for each in found["memory"])  # type: ignore[attr-defined]


def _is_tracing(_: SelfProfiler) -> bool:
    import tracemalloc

    return tracemalloc.is_tracing()


def test_a_second_one_is_refused_meanwhile_and_taken_afterwards() -> None:
    profiler = SelfProfiler()
    with profiler._taking, pytest.raises(Conflict):
        profiler.take(0.01)
    assert profiler.take(0.01)["seconds"] == 0.01


@pytest.mark.parametrize("seconds", [0, -1, 21, 10**9, float("nan"), float("inf")])
def test_strange_times_are_refused(seconds: float) -> None:
    with pytest.raises(BadInput):
        SelfProfiler().take(seconds)
