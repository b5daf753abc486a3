"""How long `up` waits before it starts a part again, and when it gives up."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from scripts.processes.restarts import LONGEST_DELAY_S, RestartHistory, RestartPolicy


def test_each_pause_is_twice_the_one_before() -> None:
    history = RestartHistory(RestartPolicy(limit=4, window_s=100, first_delay_s=0.5))
    assert [history.next_delay(0.0) for _ in range(5)] == [0.5, 1.0, 2.0, 4.0, None]


def test_thousands_of_restarts_may_be_allowed() -> None:
    assert RestartPolicy(limit=5000).delay(4000) == LONGEST_DELAY_S


def test_restarts_before_the_window_are_forgiven() -> None:
    history = RestartHistory(RestartPolicy(limit=1, window_s=10, first_delay_s=1))
    assert [history.next_delay(now) for now in (0.0, 5.0, 11.5, 12.0)] == [1, None, 1, None]


@given(st.integers(0, 50), st.floats(0.1, 1e4), st.floats(0, 60), st.lists(st.floats(0, 1e3), min_size=1, max_size=200))
def test_no_window_has_more_restarts_than_the_limit(
    limit: int, window: float, delay: float, pauses: list[float]
) -> None:
    history, now, begun = RestartHistory(RestartPolicy(limit, window, delay)), 0.0, []
    for pause in pauses:
        now += pause
        wait = history.next_delay(now)
        if wait is not None:
            assert 0 <= wait <= LONGEST_DELAY_S
            now += wait
            begun.append(now)
    for number, start in enumerate(begun):
        assert sum(start <= later < start + window for later in begun[number:]) <= limit
