"""What comes from counters: gaps, duplicates, resets, clock jumps and numbers that are none."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaler.forecast.points import DAY
from scaler.series.minutes import MinuteRates, filled, gaps
from scaler.series.readings import Interval, Reading, interval


def test_counters_become_rates() -> None:
    found = interval(Reading(10.0, 100, 5, 20.0), Reading(20.0, 150, 10, 45.0))
    assert found == Interval(10.0, 50, 5, 25.0)
    assert found.rate == 5.0
    assert found.here == 2.5
    assert found.stay_s == pytest.approx(25 / 45)


def test_a_reset_counter_counts_from_zero() -> None:
    assert interval(Reading(10.0, 100, 5, 20.0), Reading(20.0, 30, 1, 4.0)) == Interval(10.0, 30, 1, 4.0)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -1.0])
@pytest.mark.parametrize("place", [1, 2, 3])
def test_what_is_no_number_tells_nothing(bad: float, place: int) -> None:
    values = [20.0, 200.0, 10.0, 50.0]
    values[place] = bad
    assert interval(Reading(10.0, 100, 5, 20.0), Reading(*values)) is None


@pytest.mark.parametrize("at", [10.0, 9.0])
def test_a_duplicate_and_a_clock_that_stands_still_tell_nothing(at: float) -> None:
    assert interval(Reading(10.0, 100, 5, 20.0), Reading(at, 200, 5, 20.0)) is None


def test_the_first_reading_tells_nothing() -> None:
    assert interval(None, Reading(10.0, 100, 5, 20.0)) is None


def test_all_refused_has_no_stay() -> None:
    assert Interval(1.0, 5, 5, 0.0).stay_s is None


def test_a_minute_is_the_mean_of_what_was_seen_of_it() -> None:
    rates = MinuteRates(100)
    rates.add(7, 10.0, 30.0)
    rates.add(7, 20.0, 10.0)
    rates.add(8, 1.0, 5.0)
    assert rates.whole().tolist() == [12.5]
    assert rates.last == 8


def test_a_gap_is_filled_by_the_minute_before() -> None:
    rates = MinuteRates(100)
    for minute, rate in ((1, 3.0), (4, 5.0), (5, 0.0)):
        rates.add(minute, rate, 60.0)
    assert rates.whole().tolist() == [3.0, 3.0, 3.0, 5.0]


def test_a_long_gap_is_filled_by_the_day_before() -> None:
    series = np.concatenate([np.arange(DAY, dtype=float), np.full(100, np.nan), [1.0]])
    assert filled(series)[DAY : DAY + 100].tolist() == list(range(100))


def test_a_gap_longer_than_a_day_repeats_the_day() -> None:
    series = np.concatenate([np.arange(DAY, dtype=float), np.full(2 * DAY, np.nan)])
    np.testing.assert_array_equal(filled(series), np.tile(np.arange(DAY), 3))


@given(st.lists(st.one_of(st.just(math.nan), st.floats(0, 10)), max_size=40))
def test_nothing_unknown_is_left(values: list[float]) -> None:
    series = np.array(values, np.float64)
    found = filled(series)
    assert np.isfinite(found).all()
    known = ~np.isnan(series)
    np.testing.assert_array_equal(found[known], series[known])
    assert sum(end - start for start, end in gaps(series)) == int((~known).sum())


def test_a_clock_set_back_takes_back_what_was_not_yet() -> None:
    rates = MinuteRates(100)
    for minute in range(10, 20):
        rates.add(minute, float(minute), 60.0)
    rates.add(15, 1.0, 60.0)
    assert rates.last == 15
    assert rates.whole().tolist() == [10.0, 11.0, 12.0, 13.0, 14.0]


@pytest.mark.parametrize("jump", [-1000, 10**6])
def test_a_clock_that_jumps_far_begins_anew(jump: int) -> None:
    rates = MinuteRates(100)
    rates.add(1000, 5.0, 60.0)
    rates.add(1001 + jump, 6.0, 60.0)
    rates.add(1002 + jump, 7.0, 60.0)
    assert rates.whole().tolist() == [6.0]


def test_only_so_many_minutes_are_kept() -> None:
    rates = MinuteRates(5)
    for minute in range(20):
        rates.add(minute, float(minute), 60.0)
    assert rates.whole().tolist() == [15.0, 16.0, 17.0, 18.0]
    assert rates.last == 19


def test_the_past_comes_back_from_disk(tmp_path: Path) -> None:
    rates, path = MinuteRates(50), tmp_path / "past.npy"
    for minute in (3, 4, 9):
        rates.add(minute, float(minute), 60.0)
    rates.save(path)
    found = MinuteRates(50)
    found.load(path)
    assert found.last == 9
    np.testing.assert_array_equal(found.whole(), rates.whole())
    found.load(tmp_path / "none.npy")


@pytest.mark.parametrize("content", [[], [1.0], [1.0, 5.0, 2.0], [[1.0, 0.0]]])
def test_a_file_that_makes_no_sense_is_refused(tmp_path: Path, content: list[float]) -> None:
    path = tmp_path / "past.npy"
    np.save(path, np.array(content))
    with pytest.raises(ValueError, match="holds no rates"):
        MinuteRates(5).load(path)
