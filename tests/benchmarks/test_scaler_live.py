"""The parts of the live replay that need no stack."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.scaler.live.replay import Replayed, due_times
from benchmarks.scaler.live.service_curve import SLO_MS, ServiceCurve


def test_requests_are_due_at_the_rate_of_their_minute() -> None:
    due = due_times(np.array([100.0, 0.0, 300.0]), minute_s=10.0, seed=0)
    assert (np.diff(due) >= 0).all()
    counts = np.histogram(due, bins=[0, 10, 20, 30])[0]
    assert counts[0] == pytest.approx(1000, rel=0.15)
    assert counts[1] == 0
    assert counts[2] == pytest.approx(3000, rel=0.15)


def test_a_request_without_an_answer_is_late() -> None:
    run = Replayed(np.arange(100.0), np.array([*[0.1] * 98, np.inf, np.inf]), {}, 1.0)
    assert run.p99_ms == np.inf


def test_the_busiest_share_is_where_the_slo_is_reached() -> None:
    curve = ServiceCurve([0.5, 0.7, 0.9], [60.0, SLO_MS - 50, SLO_MS + 50], [2.0, 3.0])
    assert curve.busiest == pytest.approx(0.8)
    assert curve.start_p90_s == pytest.approx(2.9)


def test_one_lucky_load_does_not_make_workers_faster() -> None:
    curve = ServiceCurve([0.5, 0.7, 0.9], [SLO_MS + 50, SLO_MS - 50, SLO_MS - 40], [2.0])
    assert curve.busiest == 0.5
