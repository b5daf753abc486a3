"""docs/kv-caches.png from the committed results: memory of a picture, what a budget admits, and what a step costs.

python -m benchmarks.kv.plot
"""

from __future__ import annotations

from typing import Any

import matplotlib.pyplot as plt
from matplotlib.axes import Axes

from benchmarks.kv.arms import STATIC
from benchmarks.lib.reports import DOCS, saved

_KINDS = (
    ("reserved_mb", "reserved", "#d8cfa8"),
    ("resident_mb", "resident", "#8fbf9f"),
    ("live_mb", "live", "#0b6e4f"),
)
_STEPS = (("greedy, 8 pictures", "greedy, 8 rows", "#8e6bbf"), ("6 beams, 8 pictures", "beams, 48 rows", "#c1440e"))


def draw() -> None:
    """One panel each, a line an arm; further left is better, but for what is admitted."""
    report = saved("kv")
    parts = [key for key in ("memory", "loads", "step_ms") if key in report]
    size = (4.2 * len(parts), 4.6)
    figure, grid = plt.subplots(1, len(parts), figsize=size, sharey=True, layout="constrained", squeeze=False)
    panels: list[Axes] = list(grid[0])
    arms = list(report["memory"]["beam"])
    _memory(panels[0], report["memory"]["beam"], arms)
    if "loads" in report:
        _admitted(panels[1], report["loads"]["beam"], arms)
    if "step_ms" in report:
        _steps(panels[-1], report["step_ms"], arms)
    panels[0].set_yticks(range(len(arms)), arms)
    panels[0].invert_yaxis()
    for panel in panels:
        panel.grid(alpha=0.25, axis="x")
    figure.savefig(DOCS / "kv-caches.png", dpi=100)


def _memory(panel: Axes, memory: dict[str, dict[str, float]], arms: list[str]) -> None:
    for place, (key, label, colour) in enumerate(_KINDS):
        values = [memory[arm][key] for arm in arms]
        panel.barh([i + 0.27 * (place - 1) for i in range(len(arms))], values, 0.26, color=colour, label=label)
    panel.set(title="6 beams, 13 tokens", xlabel="MB, one picture")
    panel.legend(fontsize=8)


def _admitted(panel: Axes, loads: dict[str, dict[str, float]], arms: list[str]) -> None:
    values = [loads[arm]["admitted_mean"] if arm in loads else 0.0 for arm in arms]
    for place, bar in enumerate(panel.barh(range(len(arms)), values, 0.7, color="#4f7cac")):
        panel.text(
            bar.get_width(),
            place,
            f" {values[place]:.1f}" if values[place] else " all: none had to wait",
            va="center",
            fontsize=8,
        )
    panel.set(title="6-beam requests under way in 256 MB", xlabel="requests, mean while others wait")


def _steps(panel: Axes, steps: dict[str, Any], arms: list[str]) -> None:
    for place, (shape, label, colour) in enumerate(_STEPS):
        values = [steps[shape][arm] / steps[shape][STATIC] for arm in arms]
        panel.barh([i + 0.4 * (place - 0.5) for i in range(len(arms))], values, 0.38, color=colour, label=label)
    panel.axvline(1, color="#333333", linewidth=0.8)
    panel.set(title="a step ÷ static-76's", xlabel="ratio")
    panel.legend(fontsize=8, loc="lower left")


if __name__ == "__main__":
    draw()
