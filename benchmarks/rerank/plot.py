"""docs/reranking.png: what each arm finds, and what it costs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt

from benchmarks.lib.reports import DOCS

_COLOURS = {
    "plain": "#7a7a7a",
    "ensemble": "#b59f3b",
    "generative": "#8e6bbf",
    "generative_more": "#5b3f99",
    "random_tree": "#c1440e",
    "tree": "#0b6e4f",
    "blind": "#d9a0a0",
    "oracle": "#111111",
}


def draw(report: dict[str, Any], file: Path = DOCS / "reranking.png") -> None:
    """A panel a gallery: bars by kind of query."""
    figure, panels = plt.subplots(1, 2, figsize=(9.6, 3.4), sharey=True, layout="constrained")
    for panel, name in zip(panels, ("hard", "harder"), strict=True):
        kinds = {**report[name]["by_kind"], "all": report[name]["recall_at_1"]}
        width = 0.86 / len(_COLOURS)
        for place, (arm, colour) in enumerate(_COLOURS.items()):
            spots = [at + place * width for at in range(len(kinds))]
            tokens = report[name]["costs"][arm]["tokens"]
            label = f"{arm.replace('_', ' ')} ({tokens:,.0f})" if name == "harder" else None
            panel.bar(spots, [kind[arm] for kind in kinds.values()], width, color=colour, label=label)
        panel.set_xticks([at + 0.4 for at in range(len(kinds))], list(kinds))
        panel.set(title=f"{name} gallery", ylim=(0, 1.02))
        panel.grid(axis="y", alpha=0.25)
    panels[0].set_ylabel("recall@1")
    figure.legend(
        loc="outside lower center", ncols=8, fontsize=7, title="arm (decoder tokens a query)", title_fontsize=7
    )
    figure.savefig(file, dpi=110)
    plt.close(figure)
