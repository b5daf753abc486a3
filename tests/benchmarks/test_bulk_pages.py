"""What docs/bulk.md tells is what was measured."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.bulk import pages
from benchmarks.bulk.gpu import BARS as GPU_BARS
from benchmarks.bulk.pages import BARS
from benchmarks.lib.reports import judge

FIGURES = {"bulk_over_loop": 0.9, "bulk_pictures_per_s": 50.0, "texts_per_s": 4000.0}
REPORT: dict[str, Any] = {"figures": FIGURES, "bars": judge(FIGURES, BARS), "machine": {"cores": 2}}


def test_tables() -> None:
    page = pages.updated(pages.PAGE.read_text(encoding="utf-8"), REPORT)
    assert "| pictures/s ÷ a plain loop that decodes and runs the tower | 0.9 | ≥ 0.85 |" in page
    assert "not measured" in page
    assert "| 50.0 on 2 cores | 11.1 | 5.6 h | 0.7 h | 4.2 min |" in page
    assert "÷ the tower alone | not measured | ≥ 0.5 |" in page
    assert set(pages.LABELS) == {*BARS, *GPU_BARS}
    gpu = {"figures": {"gpu_bulk_pictures_per_s": 2500.0}, "bars": judge({}, GPU_BARS), "machine": {"cores": 16}}
    page = pages.updated(page, REPORT, gpu)
    assert "| 2,500 on a GPU and 16 cores | 0.111 h of that machine | – | – | – |" in page
    with pytest.raises(ValueError, match="bars"):
        pages.updated("no marks", REPORT)
