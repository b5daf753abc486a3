"""Progress by items, in a log."""

from __future__ import annotations

import io

from rich.console import Console

from scripts.item_progress import ItemProgress


def test_a_log_gets_a_line_every_half_minute_with_the_time_left() -> None:
    now, written = [0.0], io.StringIO()
    with ItemProgress(Console(file=written, width=80), "captions", 100, clock=lambda: now[0]) as progress:
        for _ in range(4):
            now[0] += 10.0
            progress.advance(10)
    assert written.getvalue() == "captions: 30 of 100, 1:10 left\n"


def test_where_nobody_knows_how_many_the_count_is_said() -> None:
    now, written = [0.0], io.StringIO()
    with ItemProgress(Console(file=written, width=80), "captions", None, clock=lambda: now[0]) as progress:
        now[0] = 31.0
        progress.advance(1200)
    assert written.getvalue() == "captions: 1,200\n"
