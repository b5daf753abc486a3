"""docs/scaling.png from the committed results: a panel a series, a line a policy.

python -m benchmarks.scaler.plot
"""

from __future__ import annotations

from typing import Any

import matplotlib.pyplot as plt

from benchmarks.lib.reports import DOCS, saved

COLOURS = {
    "ours": "#0b6e4f",
    "HPA": "#c1440e",
    "last value": "#7a7a7a",
    "Holt-Winters": "#8e6bbf",
    "static": "#b59f3b",
    "oracle": "#111111",
}
_LEAST = 0.8  # drawn in place of no minute at all, on a logarithmic axis
_WEEKS = 2


def draw() -> None:
    """Worker-hours a week against minutes a week over the SLO; further left and lower is better."""
    report = saved("scaler")
    lines: dict[str, Any] = report["frontiers"]
    figure, panels = plt.subplots(1, len(lines), figsize=(3.1 * len(lines), 3.4), sharey=True, layout="constrained")
    for panel, (name, families) in zip(panels, lines.items(), strict=True):
        least = families["oracle"][0][0]
        for family, colour in COLOURS.items():
            points = [(hours / least, max(_LEAST, minutes / _WEEKS)) for hours, minutes in families[family]]
            hours, minutes = zip(*points, strict=True)
            style = "*" if family == "oracle" else "-"
            panel.plot(hours, minutes, style, color=colour, label=family, linewidth=2 if family == "ours" else 1.2)
        ratio = report["as_it_is"][name]
        panel.set_title(f"{name}: {ratio:.2f}", fontsize=10, color="#c1440e" if ratio > 1 else "#0b6e4f")
        most = 1.03 * families["HPA"][-1][0] / least
        panel.set(yscale="log", xlim=(0.95, most), ylim=(_LEAST * 0.9, 5000), xlabel="worker-hours ÷ oracle")
        panel.grid(alpha=0.25)
    panels[0].set_ylabel("minutes a week over the SLO")
    panels[-1].legend(fontsize=8)
    figure.savefig(DOCS / "scaling.png", dpi=110)


if __name__ == "__main__":
    draw()
