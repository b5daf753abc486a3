"""The README's tables of bars are those of the committed results."""

from __future__ import annotations

import pytest

from benchmarks import readme_bars
from benchmarks.encoder_readme import README


@pytest.mark.parametrize("name", sorted(readme_bars.LABELS))
def test_the_readme_says_what_the_committed_results_say(name: str) -> None:
    readme = README.read_text(encoding="utf-8")
    assert readme_bars.updated(readme, name) == readme


def test_a_missed_bar_is_said_to_be_missed() -> None:
    bars = [{"name": "restart_s", "value": 12.0, "bar": 10.0, "holds": False}]
    assert "| 12 (missed) | ≤ 10 |" in readme_bars.table(bars, readme_bars.LABELS["index"])
    assert "not measured" in readme_bars.table([{**bars[0], "value": None}], readme_bars.LABELS["index"])


def test_a_readme_without_marks_is_refused() -> None:
    with pytest.raises(ValueError, match="marks"):
        readme_bars.updated("no marks", "index")
