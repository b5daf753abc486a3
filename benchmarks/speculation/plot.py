"""docs/speculation-tokens.png and docs/speculation-search.png from the committed results.

python -m benchmarks.speculation.plot
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import matplotlib.pyplot as plt

from benchmarks.lib.reports import DOCS, saved

_COLOURS = {
    "plain": "#7a7a7a",
    "prompt_lookup": "#b59f3b",
    "random": "#c1440e",
    "neighbours": "#0b6e4f",
}
_PRECISIONS = {"int8": "#0b6e4f", "fp32": "#c1440e", "bf16": "#8e6bbf"}


def draw() -> None:
    """Both figures."""
    _tokens(saved("speculation")["figures"])
    _search(saved("index"))


def _tokens(figures: Mapping[str, float]) -> None:
    """What a caption costs with each kind of draft, and what drafts bring by pictures at once."""
    there = [precision for precision in _PRECISIONS if f"{precision}_plain_ms" in figures]
    figure, (bars, lines) = plt.subplots(1, 2, figsize=(9.5, 3.4), layout="constrained")
    for place, (arm, colour) in enumerate(_COLOURS.items()):
        at = [number + (place - 1.5) * 0.2 for number in range(len(there))]
        heights = [figures[f"{precision}_{arm}_ms"] for precision in there]
        bars.bar(at, heights, 0.19, color=colour, label=arm.replace("_", " "))
    bars.set_xticks(range(len(there)), there)
    bars.set(ylabel="ms a caption, one picture", title="drafts from …")
    bars.legend(fontsize=8)
    for precision in _PRECISIONS:
        start = f"{precision}_default_over_plain_"
        points = sorted((int(name.removeprefix(start)), ratio) for name, ratio in figures.items() if start in name)
        if not points:
            continue
        lines.plot(*zip(*points, strict=True), "o-", color=_PRECISIONS[precision], label=precision)
    lines.axhline(1, color="#7a7a7a", linewidth=0.8)
    lines.set(xscale="log", xlabel="pictures at once", ylabel="captions/s ÷ plain", title="the default")
    lines.set_xticks([1, 2, 4, 8, 16, 32], ["1", "2", "4", "8", "16", "32"])
    lines.minorticks_off()
    lines.legend(fontsize=8)
    figure.savefig(DOCS / "speculation-tokens.png", dpi=110)
    plt.close(figure)


def _search(report: Mapping[str, Any]) -> None:
    """What an exact search reads in full, and what it takes."""
    exact, rows = report["exact"], report["rows"]
    figure, (counts, times) = plt.subplots(1, 2, figsize=(9.5, 2.6), layout="constrained")
    counts.barh(
        ["scored in float64", "drafted by int8 codes"], [exact["rows_verified"], rows], color=["#0b6e4f", "#7a7a7a"]
    )
    counts.set(xscale="log", xlabel="rows of the collection", xlim=(10, rows * 2))
    arms = {"certified": "certified_ms", "FAISS flat": "flat_ms", "FAISS Panorama": "panorama_ms"}
    colours = ["#0b6e4f", "#c1440e", "#c1440e"]
    times.barh(list(arms), [exact[name] for name in arms.values()], color=colours)
    times.set(xlabel=f"ms a query, {rows:,} rows, the same hits")
    figure.savefig(DOCS / "speculation-search.png", dpi=110)
    plt.close(figure)


if __name__ == "__main__":
    draw()
