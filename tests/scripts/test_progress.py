"""What long work says: bytes, rate and time left, from a clock that the test moves."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from scripts.progress import Step, WorkProgress, clock_time
from tests.clock import Clock


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.mark.parametrize(("seconds", "text"), [(0, "0:00"), (65, "1:05"), (3605, "1:00:05"), (-3, "0:00")])
def test_times(seconds: float, text: str) -> None:
    assert clock_time(seconds) == text


def test_bytes_have_a_rate_and_time_left(clock: Clock) -> None:
    step = Step("x", total=100_000_000, clock=clock)
    clock.now = 10.0
    step.advance(20_000_000)
    assert step.status == "20.0 of 100.0 MB, 2.0 MB/s, 0:40 left"
    assert step.share == 0.2


def test_what_was_there_already_is_not_counted_into_the_rate(clock: Clock) -> None:
    step = Step("x", total=100_000_000, clock=clock)
    step.resume(50_000_000)
    clock.now = 10.0
    assert step.status == "50.0 of 100.0 MB, 0.0 MB/s"
    step.advance(10_000_000)
    assert step.status == "60.0 of 100.0 MB, 1.0 MB/s, 0:40 left"


def test_an_estimate_counts_down_and_may_be_exceeded(clock: Clock) -> None:
    step = Step("x", expected_s=60.0, clock=clock)
    clock.now = 20.0
    assert (step.status, step.share) == ("0:20, about 0:40 left", 1 / 3)
    clock.now = 90.0
    assert (step.status, step.share) == ("1:30, longer than expected", 1.0)
    assert (Step("x", clock=clock).share, Step("x", clock=clock).status) == (None, "0:00")


def test_a_log_has_a_line_at_the_start_and_at_the_end(clock: Clock) -> None:
    written = io.StringIO()
    with WorkProgress(Console(file=written), clock=clock).step("packing"):
        clock.now = 75.0
    assert written.getvalue() == "packing\npacking: done in 1:15\n"


def test_a_log_has_lines_meanwhile() -> None:
    seen = _Awaited("packing: 0:00")
    with WorkProgress(Console(file=seen), line_every_s=0.001).step("packing"):
        assert seen.event.wait(60)


def test_what_fails_is_not_called_done() -> None:
    written = io.StringIO()
    with pytest.raises(ValueError, match="no"), WorkProgress(Console(file=written)).step("packing"):
        raise ValueError("no")
    assert "done" not in written.getvalue()


def test_a_terminal_shows_one_line_that_moves() -> None:
    written = io.StringIO()
    with WorkProgress(Console(file=written, force_terminal=True, width=100)).step("packing", total=10) as step:
        step.advance(10)
    assert written.getvalue().rstrip().endswith("packing: done in 0:00")


class _Awaited(io.StringIO):
    """Sets `event` when `text` is written."""

    def __init__(self, text: str) -> None:
        import threading

        super().__init__()
        self.text, self.event = text, threading.Event()

    def write(self, text: str) -> int:
        if self.text in text:
            self.event.set()
        return super().write(text)
