"""What docs/bulk.md tells of measured figures: the bars, and what a million costs.

    python -m benchmarks.bulk.pages

`make bench-bulk` writes it, too.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from benchmarks.lib.markdown import between, measured, table
from benchmarks.lib.reports import DOCS, RESULTS

PAGE, RESULT = DOCS / "bulk.md", RESULTS / "bulk.json"
BARS = {
    "bulk_over_loop": (0.85, "≥"),
    "bulk_over_clip_retrieval": (3.0, "≥"),
    "driver_memory_ratio": (1.2, "≤"),
    "kills_that_hit": (10.0, "≥"),
    "rows_that_differ_after_kills": (0.0, "≤"),
    "sync_unchanged_s": (20.0, "≤"),
}
LABELS = {
    "bulk_over_loop": "pictures/s ÷ a plain loop that decodes and runs the tower",
    "bulk_over_clip_retrieval": "pictures/s ÷ clip-retrieval's `clip inference`, the same weights in float32",
    "driver_memory_ratio": "memory of the driver: 1,000,000 texts ÷ 100,000",
    "kills_that_hit": "kills that met the run at work",
    "rows_that_differ_after_kills": "rows that differ after these kills, of 6,000",
    "sync_unchanged_s": "sync of 20,000 pictures in which nothing changed, s",
}
_MARKS = "<!-- {0}: written by `make bench-bulk` -->", "<!-- end of {0} -->"
_MACHINES = ((1, 2), (1, 16), (10, 16))  # how many, and their cores


def write() -> None:
    report = json.loads(RESULT.read_text(encoding="utf-8"))
    PAGE.write_text(updated(PAGE.read_text(encoding="utf-8"), report), encoding="utf-8")


def updated(page: str, report: Mapping[str, Any]) -> str:
    """Raises ValueError without the marks, KeyError for a bar without a label."""
    rows = [(LABELS[bar["name"]], measured(bar), "{1} {0:,g}".format(*BARS[bar["name"]])) for bar in report["bars"]]
    page = _between(page, "bars", table(("what was asked for", "measured", "bar"), rows))
    return _between(page, "costs", costs(report["figures"], report["machine"]["cores"]))


def _between(page: str, name: str, content: str) -> str:
    return between(page, _MARKS[0].format(name), _MARKS[1].format(name), content)


def costs(figures: Mapping[str, float], cores: int) -> str:
    """Hours for a million: the measured rate a core, times the cores."""
    kinds = {
        "pictures of 640×480, ViT-B/32 in int8": "bulk_pictures_per_s",
        "the same by clip-retrieval": "clip_retrieval_pictures_per_s",
        "short texts, the demo's small text tower": "texts_per_s",
    }
    heads = ("a million", "measured, a second", *(f"{count} × {size} cores" for count, size in _MACHINES))
    rows = [
        (what, f"{figures[name]:,.1f} on {cores} cores", *_hours(figures[name] / cores))
        for what, name in kinds.items()
        if name in figures
    ]
    return table(heads, rows)


def _hours(rate_of_a_core: float) -> list[str]:
    hours = [1e6 / (rate_of_a_core * count * size) / 3600 for count, size in _MACHINES]
    return [f"{each:,.1f} h" if each >= 0.1 else f"{60 * each:,.1f} min" for each in hours]


if __name__ == "__main__":
    write()
