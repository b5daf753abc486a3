"""The picture of the encoder benchmark: throughput by engine at batch 16, pictures and short texts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

OURS, THEIRS = "#2563eb", "#9ca3af"


def draw(report: dict[str, Any], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    parts = (("image", f"{report['model']}, pictures a second"), ("short text", "short texts a second"))
    figure, axes = pyplot.subplots(1, 2, figsize=(11, 4.6), width_ratios=(3, 2), layout="constrained")
    for axis, (what, title) in zip(axes, parts, strict=True):
        own = sorted(
            (r for r in report["rows"] if (r["what"], r["batch"]) == (what, 16)), key=lambda r: r["items_per_s"]
        )
        bars = axis.barh(
            [row["engine"] for row in own],
            [row["items_per_s"] for row in own],
            color=[OURS if row["engine"].startswith("ours") else THEIRS for row in own],
        )
        axis.bar_label(
            bars, [f"{row['items_per_s']:.0f}  (cos {row['cosine']:.4f})" for row in own], padding=4, fontsize=8
        )
        axis.set_title(title, loc="left", fontsize=11)
        axis.set_xlim(right=max(row["items_per_s"] for row in own) * 1.32)
        axis.spines[["top", "right"]].set_visible(False)
        axis.tick_params(labelsize=8)
    if "int8" in report["gemm_gflops"] and report["model"] == "ViT-B-32":
        from benchmarks.encoder_bars import GFLOP_PER_IMAGE

        for name, rate in report["gemm_gflops"].items():
            axes[0].axvline(rate / GFLOP_PER_IMAGE["ViT-B-32"], color="#d1d5db", linestyle=":", zorder=0)
            axes[0].text(
                rate / GFLOP_PER_IMAGE["ViT-B-32"], -0.9, f"{name} GEMM", fontsize=7, ha="center", color="#6b7280"
            )
    figure.suptitle("Batch 16, two cores, random weights; cosine to open_clip in float32", fontsize=9, color="#6b7280")
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
