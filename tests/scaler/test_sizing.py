"""The rule and what one endpoint decides by it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from scaler.endpoint import Decision, EndpointScaler
from scaler.forecast.forecaster import Forecast
from scaler.series.readings import Interval
from scaler.settings import ScalerSettings
from scaler.sizing.rule import desired_workers, workers
from scaler.sizing.stabilization import StabilizationWindow
from scaler.sizing.work_time import WorkTime

WORK_S = 0.05


def settings(**given: object) -> ScalerSettings:
    return ScalerSettings(
        **{
            "max_replicas": 20,
            "stabilization_window_s": 0,
            "scale_to_zero_after_s": 60,
            "target_utilization": 0.5,
            "max_utilization": 0.8,
            **given,
        }
    )


def busy(load: float, seconds: float = 5.0) -> Interval:
    """So many busy workers, and nothing that waits."""
    return Interval(seconds, load / WORK_S * seconds, 0.0, load * seconds)


def decided(scaler: EndpointScaler, *loads: float, forecast: Forecast | None = None, size: int | None = 1) -> Decision:
    found = [scaler.decide(busy(load), forecast, 5.0 * step, size=size) for step, load in enumerate(loads)]
    assert found[-1] is not None
    return found[-1]


def sized(scaler: EndpointScaler, seen: Interval | None, now: float, size: int | None, **more: Any) -> int | None:
    found = scaler.decide(seen, more.pop("forecast", None), now, size=size, **more)
    return None if found is None else found.size


def season(upper: float, by: str = "week") -> Forecast:
    """In busy workers."""
    return Forecast(0.8 * upper / WORK_S, upper / WORK_S, by)


@pytest.mark.parametrize(
    ("demand", "size", "floor", "expected"),
    [(3.0, 1, 0, 6), (3.0, 6, 0, 6), (2.8, 6, 0, 6), (2.0, 6, 0, 4), (3.2, 6, 0, 6), (3.0, 6, 9, 9), (0.0, 6, 0, 0)],
)
def test_the_larger_one_wins_and_small_changes_are_none(demand: float, size: int, floor: int, expected: int) -> None:
    assert desired_workers(demand, size, floor, 0.5, 0.1) == expected


def test_whole_workers_are_not_rounded_up() -> None:
    assert workers(0.1 + 0.2, 0.1) == 3
    assert workers(np.array([0.0, 0.01]), 0.8).tolist() == [0, 1]


def test_it_shrinks_to_the_largest_of_the_last_minutes() -> None:
    window = StabilizationWindow(60.0)
    assert [window.largest(size, at) for at, size in ((0, 5), (10, 2), (60, 3), (61, 2), (130, 1))] == [5, 5, 5, 3, 1]


@given(st.lists(st.integers(0, 9), min_size=1, max_size=30), st.integers(0, 10))
def test_calm_is_the_maximum_of_its_window(wishes: list[int], seconds: int) -> None:
    window = StabilizationWindow(float(seconds))
    for at, size in enumerate(wishes):
        assert window.largest(size, float(at)) == max(wishes[max(0, at - seconds) : at + 1])


def test_a_queue_is_not_taken_for_work() -> None:
    work = WorkTime()
    for _ in range(10):
        work.see(WORK_S)
    assert work.with_waiting(WORK_S) == WORK_S
    assert work.with_waiting(1.0) == pytest.approx(2 * WORK_S)
    assert work.with_waiting(None) == WORK_S


def test_demand_alone() -> None:
    found = decided(EndpointScaler(settings()), 3.0)
    assert found.size == 6
    assert found.demand == pytest.approx(3.0)
    assert found.method is None
    assert "3.0 busy workers" in found.reason


def test_a_season_is_a_floor_and_lets_workers_be_busier() -> None:
    found = decided(EndpointScaler(settings()), 3.0, forecast=season(5.6))
    assert found.size == 7  # 5.6 at 80 %
    assert found.upper == pytest.approx(5.6)
    assert "week" in found.reason
    assert decided(EndpointScaler(settings()), 5.0, forecast=season(3.5)).size == 7  # 5.0 at 80 %


def test_demand_that_the_forecast_missed_gets_the_room_of_the_reactive_rule() -> None:
    assert decided(EndpointScaler(settings()), 3.0, forecast=season(1.0)).size == 6


def test_a_forecast_that_is_off_changes_nothing_and_is_told() -> None:
    found = decided(EndpointScaler(settings()), 3.0, forecast=season(9.0, "last value"))
    assert found.size == 6
    assert found.method == "last value"


def test_refused_demand_counts() -> None:
    scaler = EndpointScaler(settings())
    decided(scaler, 1.0)
    found = scaler.decide(Interval(5.0, 500, 400, 5.0), None, 5.0, size=2)
    assert found is not None
    assert found.demand == pytest.approx(5.0)
    assert found.size == 10


def test_bounds_hold() -> None:
    assert decided(EndpointScaler(settings(max_replicas=4)), 30.0).size == 4
    assert decided(EndpointScaler(settings(min_replicas=3)), 0.1).size == 3


def test_unknown_demand_keeps_the_size_and_says_so() -> None:
    scaler = EndpointScaler(settings())
    decided(scaler, 3.0)
    found = scaler.decide(None, season(19.0), 5.0, size=1)
    assert found is not None
    assert found.size == 6
    assert found.demand is None
    assert "not known" in found.reason


def test_before_anything_is_known_the_size_is_what_is_there() -> None:
    scaler = EndpointScaler(settings())
    assert sized(scaler, None, 0.0, None) is None
    assert sized(scaler, None, 5.0, 5) == 5
    assert sized(scaler, None, 10.0, 3) == 3
    assert sized(scaler, None, 15.0, None) is None
    assert sized(scaler, busy(1.0), 20.0, 3) == 2


def test_with_a_gateway_away_it_grows_and_does_not_shrink() -> None:
    scaler = EndpointScaler(settings())
    decided(scaler, 3.0)
    assert sized(scaler, busy(1.0), 5.0, 6, complete=False) == 6
    assert sized(scaler, busy(4.0), 10.0, 6, complete=False) == 8


def test_to_zero_when_idle_and_back_at_the_first_request() -> None:
    scaler, nothing = EndpointScaler(settings(min_replicas=0)), Interval(5.0, 0.0, 0.0, 0.0)
    decided(scaler, 1.0)
    assert sized(scaler, nothing, 59.0, 2) == 1
    assert sized(scaler, nothing, 61.0, 1) == 0
    assert sized(scaler, Interval(5.0, 1, 1, 0.0), 66.0, 0) == 1  # it was refused


def test_a_forecast_of_next_to_nothing_keeps_nobody_awake() -> None:
    scaler, nothing = EndpointScaler(settings(min_replicas=0)), Interval(5.0, 0.0, 0.0, 0.0)
    assert sized(scaler, nothing, 0.0, 1) == 1
    assert sized(scaler, nothing, 61.0, 1, forecast=Forecast(0.001, 0.005, "day")) == 0
    assert sized(scaler, nothing, 61.0, 1, forecast=Forecast(0.1, 0.2, "day")) == 1


def test_a_scaler_that_was_started_again_takes_nothing_away_at_once() -> None:
    nothing = Interval(5.0, 0.0, 0.0, 0.0)
    assert (
        sized(EndpointScaler(settings(min_replicas=0)), nothing, 0.0, 1) == 1
    )  # it may have been asked for a moment ago
    scaler = EndpointScaler(settings(stabilization_window_s=30))
    assert [sized(scaler, busy(1.0), now, 6) for now in (0.0, 29.0, 31.0)] == [6, 6, 2]


@given(
    st.lists(st.tuples(st.floats(0, 1e6), st.floats(0, 1e6), st.floats(0, 1e6)), min_size=1, max_size=20),
    st.one_of(st.none(), st.floats(0, 1e9)),
)
def test_whatever_comes_the_size_is_within_its_bounds(
    seen: list[tuple[float, float, float]], upper: float | None
) -> None:
    scaler = EndpointScaler(settings(min_replicas=1, max_replicas=7, stabilization_window_s=20))
    forecast = None if upper is None else Forecast(upper, upper, "week")
    for step, (items, refused, item_seconds) in enumerate(seen):
        interval = Interval(5.0, items, min(items, refused), item_seconds)
        found = scaler.decide(interval, forecast, 5.0 * step, size=3)
        assert found is not None
        assert 1 <= found.size <= 7
        assert found.demand is not None
        assert math.isfinite(found.demand)


@pytest.mark.parametrize(
    "given_", [{"min_replicas": 5, "max_replicas": 4}, {"target_utilization": 0.9, "max_utilization": 0.8}]
)
def test_bounds_that_contradict_each_other_are_refused(given_: dict[str, float]) -> None:
    with pytest.raises(ValidationError, match=r"more than max_replicas|above max_utilization"):
        settings(**given_)
