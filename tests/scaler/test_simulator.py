"""The simulator: known loads, known outcomes; and frontiers."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.scaler import judging, worlds
from benchmarks.scaler.frontiers import frontier, hours_at, minutes_at, ratio
from benchmarks.scaler.holt_winters import holt_winters
from benchmarks.scaler.policies import SizePolicy, run
from benchmarks.scaler.simulator import PER_MINUTE, Service, oracle
from scaler.forecast.points import DAY, FloatArray

SERVICE = Service(busiest=0.8, start_s=45.0)


def one(load: FloatArray, policy: SizePolicy) -> tuple[float, float, float]:
    return run(load[None], [{"one": [policy]}], SERVICE)[0]["one"][0]


def minutes_of(*values: float) -> FloatArray:
    return np.repeat(np.array(values), PER_MINUTE)


def test_a_static_size_is_over_while_it_is_too_busy() -> None:
    load = minutes_of(3.0, 3.9, 4.1, 3.0)
    hours, over, refused = one(load, SizePolicy(np.full(4, 5.0)))
    assert hours == pytest.approx(5 * 4 / 60)
    assert over == 1.0  # 4.1 of 5 are above 80 %
    assert refused == 0.0


def test_what_waits_too_long_is_refused() -> None:
    _, over, refused = one(minutes_of(8.0, 8.0), SizePolicy(np.full(2, 4.0)))
    assert over == 2.0
    assert refused == pytest.approx(0.5, abs=0.02)  # but for what waits at the end


def test_a_reactive_rule_grows_after_the_start_time() -> None:
    load = minutes_of(*[1.0] * 5, *[4.0] * 5)
    hours, over, _ = one(load, SizePolicy(np.array([2.0, *[0.0] * 9]), target=0.5, beside=0.5))
    assert over == 1.0
    assert hours > (5 * 2 + 4 * 8) / 60


def test_calm_holds_the_largest_size() -> None:
    load = minutes_of(4.0, *[1.0] * 9)
    brief, held = (one(load, SizePolicy(np.zeros(10), 0.5, 0.5, calm))[0] for calm in (0, 300))
    assert held > brief


def test_the_oracle_is_never_over() -> None:
    load = np.random.default_rng(0).uniform(0.5, 9.0, 40 * PER_MINUTE)
    _, over, refused = one(load, SizePolicy(oracle(load[None], SERVICE)[0]))
    assert over == 0.0
    assert refused == 0.0


def test_lanes_do_not_touch_each_other() -> None:
    rng = np.random.default_rng(1)
    loads = rng.uniform(0.5, 6.0, (2, 30 * PER_MINUTE))
    policies = [SizePolicy(np.zeros(30), target, target, calm, 0.1) for target in (0.4, 0.7) for calm in (0, 60)]
    together = run(loads, [{"a": policies}, {"a": policies[:1]}], SERVICE)
    assert together[0]["a"] == [one(loads[0], each) for each in policies]
    assert together[1]["a"] == [one(loads[1], policies[0])]


def test_a_frontier_keeps_what_nothing_beats() -> None:
    line = frontier([(3.0, 1.0), (1.0, 9.0), (2.0, 9.5), (2.0, 4.0), (4.0, 1.0)])
    assert line.tolist() == [[1.0, 9.0], [2.0, 4.0], [3.0, 1.0]]
    assert hours_at(line, 6.5) == 1.5
    assert minutes_at(line, 2.5) == 2.5


def test_nobody_is_compared_below_the_worker_hours_that_it_has() -> None:
    assert minutes_at(frontier([(3.0, 1.0)]), 2.0) == np.inf
    assert ratio(frontier([(3.0, 1.0)]), frontier([(1.0, 9.0)]), 9.0) == np.inf


def test_holt_winters_learns_a_season() -> None:
    season = np.tile(np.array([1.0, 5.0, 2.0, 8.0]), 50)[None]
    found = holt_winters(season, 1, season=4)
    np.testing.assert_allclose(found[0, -9:-1], season[0, -8:], atol=0.1)


def test_worlds_are_the_same_each_time_and_shuffled_ones_hold_the_same_hours() -> None:
    rates = {"a": 1.0 + np.sin(np.arange(worlds.HISTORY + worlds.JUDGED) * 2 * np.pi / DAY)}
    np.testing.assert_array_equal(worlds.worlds(rates, None), worlds.worlds(rates, None))
    plain, shuffled = worlds.worlds(rates, None).mean(), worlds.worlds(rates, "shuffled").mean()
    assert plain == pytest.approx(shuffled, rel=0.02)


def test_a_daily_rhythm_is_served_better_at_equal_worker_hours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worlds, "HISTORY", 8 * DAY)
    monkeypatch.setattr(worlds, "JUDGED", DAY)
    hour = np.arange(9 * DAY) % DAY / 60
    rates = {"rhythm": np.where((hour > 8) & (hour < 18), 10.0, 2.0)}
    found = judging.simulate(rates, None, Service(0.8, 60.0), every=True)
    assert set(found["rhythm"]) == {"HPA", "ours", "last value", "Holt-Winters", "static", "oracle"}
    assert judging.median_ratio(found) < 1.0
