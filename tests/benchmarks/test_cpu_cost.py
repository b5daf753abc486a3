"""Processor time of two commits, compared."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from benchmarks.stack.cpu_cost import compared, interval, processor_s

NOISE = (1.0, 1.1, 0.95, 1.3, 0.9, 1.02, 0.98, 1.05, 1.2, 1.0)


def test_the_ratio_is_that_of_the_medians() -> None:
    found = compared([[100.0, 110.0], [200.0, 190.0], [100.0, 111.0]])
    assert (found["old_us"], found["new_us"], found["ratio"]) == (100.0, 111.0, 1.11)


def test_noise_that_falls_on_both_of_a_round_leaves_the_interval_narrow() -> None:
    low, high = interval([[100 * noise, 120 * noise] for noise in NOISE])
    assert (low, high) == (pytest.approx(1.2), pytest.approx(1.2))


def test_the_interval_holds_the_ratio_when_rounds_differ() -> None:
    pairs = [[100 * noise, 104 * other] for noise, other in zip(NOISE, NOISE[::-1], strict=True)]
    low, high = interval(pairs)
    assert low < compared(pairs)["ratio"] < high


def test_the_time_of_children_that_have_ended_counts() -> None:
    before = processor_s(os.getpid())
    code = "import time\nwhile time.process_time() < 0.3: pass"
    subprocess.run([sys.executable, "-c", code], check=True)
    assert processor_s(os.getpid()) - before >= 0.2
