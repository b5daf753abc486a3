"""docs/scaling.md says what the committed results say."""

from __future__ import annotations

from benchmarks.scaler import pages


def test_the_page_says_what_the_committed_results_say() -> None:
    page = pages.PAGE.read_text(encoding="utf-8")
    assert pages.updated(page) == page
