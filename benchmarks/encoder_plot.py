"""The picture of the encoder benchmark: throughput by engine at one batch size, pictures and short texts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.encoder_bars import GFLOP_PER_IMAGE
from benchmarks.encoder_rounds import main_batch

OURS, THEIRS = "#2563eb", "#9ca3af"


def rate(items_per_s: float) -> str:
    """Three digits of it."""
    return f"{items_per_s:.0f}" if items_per_s >= 100 else f"{items_per_s:.3g}"


def draw(report: dict[str, Any], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    batch = main_batch({row["batch"] for row in report["rows"]})
    parts = (("image", f"{report['model']}, pictures a second"), ("short text", "short texts a second"))
    figure, axes = pyplot.subplots(1, 2, figsize=(11, 4.6), width_ratios=(3, 2), layout="constrained")
    for axis, (what, title) in zip(axes, parts, strict=True):
        own = sorted(
            (r for r in report["rows"] if (r["what"], r["batch"]) == (what, batch)), key=lambda r: r["items_per_s"]
        )
        bars = axis.barh(
            [row["engine"] for row in own],
            [row["items_per_s"] for row in own],
            color=[OURS if row["engine"].startswith("ours") else THEIRS for row in own],
        )
        axis.bar_label(
            bars, [f"{rate(row['items_per_s'])}  (cos {row['cosine']:.4f})" for row in own], padding=4, fontsize=8
        )
        axis.set_title(title, loc="left", fontsize=11)
        axis.set_xlim(right=max(row["items_per_s"] for row in own) * 1.32)
        axis.spines[["top", "right"]].set_visible(False)
        axis.tick_params(labelsize=8)
    if report["model"] in GFLOP_PER_IMAGE:
        for name, ceiling in report["gemm_gflops"].items():
            most = ceiling / GFLOP_PER_IMAGE[report["model"]]
            axes[0].axvline(most, color="#d1d5db", linestyle=":", zorder=0)
            axes[0].text(most, -0.9, f"{name} GEMM", fontsize=7, ha="center", color="#6b7280")
    title = f"Batch {batch}, two cores, random weights; cosine to open_clip in float32"
    figure.suptitle(title, fontsize=9, color="#6b7280")
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
