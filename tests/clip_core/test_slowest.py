"""The slowest calls of the last hour."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from clip_core.slowest import Slowest
from tests.clock import Clock


@given(st.lists(st.integers(0, 1000), max_size=60))
def test_the_slowest_are_kept_and_the_slowest_is_first(times: list[int]) -> None:
    slowest = Slowest(5, clock=Clock())
    for ms in times:
        slowest.add(ms, lambda ms=ms: {"route": str(ms)})
    assert [entry["ms"] for entry in slowest.all()] == sorted(times, reverse=True)[:5]
    assert all(entry["route"] == str(entry["ms"]) for entry in slowest.all())


def test_an_hour_later_they_are_forgotten() -> None:
    clock = Clock()
    slowest = Slowest(2, clock=clock)
    slowest.add(9.0, dict)
    clock.now = 1800.0
    slowest.add(5.0, dict)
    assert [entry["ms"] for entry in slowest.all()] == [9.0, 5.0]
    clock.now = 3700.0
    assert [entry["ms"] for entry in slowest.all()] == [5.0]
    slowest.add(1.0, dict)
    assert len(slowest._by_span) == 2


def test_a_quick_call_is_not_told() -> None:
    slowest = Slowest(1, clock=Clock())
    slowest.add(9.0, dict)
    slowest.add(1.0, lambda: 1 / 0)  # type: ignore[arg-type, return-value]
    assert slowest.all() == [{"time": "1970-01-01T00:00:00Z", "ms": 9.0}]
