"""The tables in the docs are those of the committed results."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from benchmarks import bar_tables
from benchmarks.bulk import pages as bulk
from benchmarks.encoders import tables
from benchmarks.kv import pages as kv
from benchmarks.lib.reports import saved
from benchmarks.scaler import pages as scaler

PAGES: dict[str, tuple[Path, Callable[[str], str]]] = {
    **{name: (bar_tables.PAGES[name], partial(bar_tables.updated, name=name)) for name in sorted(bar_tables.LABELS)},
    "bulk": (bulk.PAGE, lambda page: bulk.updated(page, saved("bulk"), saved("bulk-gpu"))),
    "encoders": (tables.PAGE, lambda page: tables.updated(page, tables.reports(), tables.gpu_reports())),
    "kv": (kv.PAGE, kv.updated),
    "scaler": (scaler.PAGE, scaler.updated),
}


@pytest.mark.parametrize("name", PAGES)
def test_the_page_says_what_the_committed_results_say(name: str) -> None:
    path, updated = PAGES[name]
    page = path.read_text(encoding="utf-8")
    assert updated(page) == page


def test_a_missed_bar_is_said_to_be_missed() -> None:
    bars = [{"name": "restart_s", "value": 12.0, "bar": 10.0, "holds": False}]
    assert "| 12 (missed) | ≤ 10 |" in bar_tables.table(bars, bar_tables.LABELS["index"])
    assert "not measured" in bar_tables.table([{**bars[0], "value": None}], bar_tables.LABELS["index"])


def test_a_page_without_marks_is_refused() -> None:
    with pytest.raises(ValueError, match="marks"):
        bar_tables.updated("no marks", "index")
