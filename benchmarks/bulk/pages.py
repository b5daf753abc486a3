"""What docs/bulk.md tells of measured figures: the bars, and what a million costs.

    python -m benchmarks.bulk.pages

`make bench-bulk` writes it, too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks.bulk.gpu import BARS as GPU_BARS
from benchmarks.lib.markdown import bars_table, digits, rewritten, table
from benchmarks.lib.reports import DOCS, judge, saved

PAGE = DOCS / "bulk.md"
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
    "gpu_end_to_end_over_tower": "on a GPU: pictures/s from JPEGs to vectors ÷ the tower alone",
    "nvjpeg_smallest_cosine": "smallest cosine of vectors from nvJPEG's pixels to the usual ones",
}
_MACHINES = ((1, 2), (1, 16), (10, 16))  # how many, and their cores
Json = dict[str, Any]


def write() -> None:
    """Nothing where only a GPU was measured."""
    if report := saved("bulk"):
        PAGE.write_text(updated(PAGE.read_text(encoding="utf-8"), report, saved("bulk-gpu")), encoding="utf-8")


def updated(page: str, report: Json, gpu: Json | None = None) -> str:
    """`gpu`: what was measured on one. Raises ValueError without the marks, KeyError for a bar without a label."""
    judged = [*report["bars"], *(gpu["bars"] if gpu else judge({}, GPU_BARS))]
    texts = {
        "bars": bars_table(judged, LABELS, {**BARS, **GPU_BARS}),
        "costs": costs(report["figures"], report["machine"]["cores"], gpu),
    }
    return rewritten(page, texts, "make bench-bulk")


def costs(figures: Mapping[str, float], cores: int, gpu: Json | None = None) -> str:
    """Core hours and hours for a million: by the measured rate a core, times the cores."""
    kinds = {
        "pictures of 640×480, ViT-B/32 in int8": "bulk_pictures_per_s",
        "the same by clip-retrieval": "clip_retrieval_pictures_per_s",
        "short texts, the demo's small text tower": "texts_per_s",
    }
    heads = ("a million", "measured, a second", "core hours", *(f"{count} × {size} cores" for count, size in _MACHINES))
    rows = [
        (what, f"{figures[name]:,.1f} on {cores} cores", *_of_cores(figures[name] / cores))
        for what, name in kinds.items()
        if name in figures
    ]
    return table(heads, [*rows, *_on_a_gpu(gpu)])


def _of_cores(rate: float) -> list[str]:
    """`rate`: of one core, a second."""
    hours = [_hours(rate * count * size) for count, size in _MACHINES]
    return [digits(_hours(rate)), *map(_told, hours)]


def _told(hours: float) -> str:
    """In a unit of which there is at least one tenth: 0.3 h, 2.1 min, 1.5 s."""
    units = {"h": hours, "min": 60 * hours, "s": 3600 * hours}
    return next((f"{value:,.1f} {unit}" for unit, value in units.items() if value >= 0.1), "0 s")


def _hours(rate: float) -> float:
    return 1e6 / rate / 3600


def _on_a_gpu(gpu: Json | None) -> list[tuple[str, ...]]:
    if not gpu:
        return []
    rate, cores = gpu["figures"]["gpu_bulk_pictures_per_s"], gpu["machine"]["cores"]
    measured, hours = f"{rate:,.0f} on a GPU and {cores} cores", f"{digits(_hours(rate))} h of that machine"
    return [("pictures of 640×480, ViT-B/32 in bf16 on a GPU", measured, hours, *["–"] * 3)]


if __name__ == "__main__":
    write()
