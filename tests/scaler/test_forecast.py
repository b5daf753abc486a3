"""Forecasts: seasons are found, what is no season is not used, and the band holds what it promises."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaler.forecast.conformal import band, pinball, rolling_quantiles
from scaler.forecast.forecaster import NAMES, backtest, forecast_now, judged
from scaler.forecast.points import (
    DAY,
    WEEK,
    FloatArray,
    centred_mean,
    earlier_cycles,
    peak_ahead,
    seasonal,
    trailing_mean,
)

HORIZON = 3


def daily(days: int, seed: int = 0, noise: float = 0.05) -> FloatArray:
    """A rate that doubles each morning within a few minutes, and falls at night."""
    minutes = np.arange(days * DAY)
    hour = minutes % DAY / 60
    rates = np.where((hour > 8) & (hour < 18), 10.0, 2.0)
    return np.maximum(0.0, rates * (1 + noise * np.random.default_rng(seed).standard_normal(len(minutes))))


def test_the_peak_ahead_is_of_the_minutes_after() -> None:
    assert peak_ahead(np.array([9.0, 1, 2, 5, 0, 0]), 2).tolist() == [2, 5, 5, 0 + 0]


@given(st.lists(st.floats(0, 100), min_size=1, max_size=40), st.integers(1, 9))
def test_means_are_those_of_their_minutes(values: list[float], width: int) -> None:
    series = np.array(values)
    expected = [np.mean(values[max(0, place + 1 - width) : place + 1]) for place in range(len(values))]
    np.testing.assert_allclose(trailing_mean(series, width), expected, atol=1e-9)
    half = width // 2
    around = [np.mean(values[max(0, place - half) : place + half + 1]) for place in range(len(values))]
    np.testing.assert_allclose(centred_mean(series, 2 * half + 1), around, atol=1e-9)


def test_a_mean_over_an_unknown_minute_is_unknown() -> None:
    found = trailing_mean(np.array([np.nan, 1.0, 2.0, 3.0]), 2)
    assert np.isnan(found[:2]).all()
    assert found[2:].tolist() == [1.5, 2.5]


def test_the_season_is_the_mean_of_earlier_periods() -> None:
    found = earlier_cycles(np.array([1.0, 2, 3, 4]), 2, 1)
    assert np.isnan(found[:2]).all()
    assert found[2:].tolist() == [1.0, 2.0, 2.0]  # the last is past the end: of 1 and 3


def test_a_season_sees_the_morning_come() -> None:
    series = daily(5, noise=0.0)
    before = 4 * DAY + 8 * 60 - 1  # nothing has risen yet
    assert series[before] == 2.0
    assert seasonal(series[: before + 1], DAY, HORIZON)[-1] > 4.0


def test_a_forecast_at_a_minute_knows_nothing_of_later_ones() -> None:
    series, quantiles = daily(5), np.array([0.5, 0.9])
    whole = backtest(series, quantiles, HORIZON)
    cut = 4 * DAY + 300
    part = backtest(series[:cut], quantiles, HORIZON)
    later = whole.point[cut - 1], part.point[-1]
    assert later[0] == pytest.approx(later[1], rel=0.02)  # the floor of residuals is of the whole series


@pytest.mark.parametrize("quantile", [0.5, 0.9, 0.99])
def test_the_band_covers_its_share(quantile: float) -> None:
    series = daily(8, noise=0.2)
    peak = peak_ahead(series, HORIZON)
    upper = band(trailing_mean(series, 3), peak, np.array([quantile]), horizon=HORIZON, window=DAY)[0]
    known = ~np.isnan(upper[: len(peak)])
    covered = float(np.mean(peak[known] <= upper[: len(peak)][known]))
    assert covered == pytest.approx(quantile, abs=0.03)


def test_quantiles_are_of_what_is_known_by_then() -> None:
    values = np.arange(100.0)
    found = rolling_quantiles(values, np.array([1.0 - 1e-9]), lag=5, window=20, every=1, stride=1)[0]
    assert np.isnan(found[:24]).all()
    assert found[24] == 19.0
    assert found[-1] == 94.0


def test_a_window_with_an_unknown_residual_gives_none() -> None:
    values = np.ones(100)
    values[50] = np.nan
    found = rolling_quantiles(values, np.array([0.5]), lag=1, window=10, every=1, stride=1)[0]
    assert np.isnan(found[51:61]).all()
    assert (found[61:] == 1.0).all()


def test_the_loss_is_least_at_the_quantile() -> None:
    came = np.random.default_rng(0).exponential(size=4000)
    losses = [np.mean(pinball(np.full(4000, guess), came, 0.9)) for guess in np.quantile(came, [0.7, 0.9, 0.98])]
    assert min(losses) == losses[1]


def test_a_daily_rhythm_is_used() -> None:
    found = forecast_now(daily(9), 0.9, HORIZON)
    assert found is not None
    assert found.is_on
    assert found.by in NAMES[1:]
    assert found.point <= found.upper


def test_what_has_no_rhythm_is_left_to_the_reactive_rule() -> None:
    hours = np.random.default_rng(1).permutation(daily(9).reshape(-1, 30)).reshape(-1)
    found = forecast_now(hours, 0.9, HORIZON)
    assert found is not None
    assert not found.is_on


def test_a_rhythm_that_ends_is_given_up() -> None:
    rng = np.random.default_rng(2)
    steps = np.repeat(rng.uniform(1, 12, 3 * 24), 60)  # three days without one, after nine with
    found = forecast_now(np.concatenate([daily(9), steps]), 0.9, HORIZON)
    assert found is not None
    assert not found.is_on


def test_too_little_is_no_forecast() -> None:
    assert forecast_now(np.ones(judged(HORIZON) - 1), 0.9, HORIZON) is None
    assert forecast_now(np.empty(0), 0.9, HORIZON) is None


def test_a_day_of_zeros_is_forecast_as_zero() -> None:
    found = forecast_now(np.zeros(judged(HORIZON) + WEEK), 0.9, HORIZON)
    assert found is None or (0.0 <= found.upper < 1e-6 and not found.is_on)


def test_a_day_of_zeros_within_a_rhythm_does_no_harm() -> None:
    series = daily(12)
    series[10 * DAY : 11 * DAY] = 0.0
    found = forecast_now(series, 0.9, HORIZON)
    assert found is not None
    assert np.isfinite([found.point, found.upper]).all()
