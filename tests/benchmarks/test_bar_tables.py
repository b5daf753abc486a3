"""The tables of bars in the docs are those of the committed results."""

from __future__ import annotations

import pytest

from benchmarks import bar_tables


@pytest.mark.parametrize("name", sorted(bar_tables.LABELS))
def test_the_page_says_what_the_committed_results_say(name: str) -> None:
    page = bar_tables.PAGES[name].read_text(encoding="utf-8")
    assert bar_tables.updated(page, name) == page


def test_a_missed_bar_is_said_to_be_missed() -> None:
    bars = [{"name": "restart_s", "value": 12.0, "bar": 10.0, "holds": False}]
    assert "| 12 (missed) | ≤ 10 |" in bar_tables.table(bars, bar_tables.LABELS["index"])
    assert "not measured" in bar_tables.table([{**bars[0], "value": None}], bar_tables.LABELS["index"])


def test_a_page_without_marks_is_refused() -> None:
    with pytest.raises(ValueError, match="marks"):
        bar_tables.updated("no marks", "index")
