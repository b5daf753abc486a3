"""The encoders' tables in docs/performance.md, from the committed results.

    python -m benchmarks.encoders.tables

`make bench-encoders` writes them too.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.encoders.bars import GFLOP_PER_IMAGE
from benchmarks.encoders.rounds import main_batch
from benchmarks.lib.markdown import digits, measured, rewritten, table
from benchmarks.lib.reports import DOCS, RESULTS, saved

PAGE = DOCS / "performance.md"
COSINE = "least cosine to open_clip fp32"
Report = dict[str, Any]


def write() -> None:
    PAGE.write_text(updated(PAGE.read_text(encoding="utf-8"), reports(), gpu_reports()), encoding="utf-8")


def reports() -> list[Report]:
    """ViT-B/32's, and ViT-L/14's when it has been measured."""
    return [report for name in ("encoders", "encoders-vit-l-14") if (report := saved(name))]


def gpu_reports(directory: Path = RESULTS) -> list[Report]:
    """None until the benchmark has run on a GPU."""
    return [json.loads(path.read_text(encoding="utf-8")) for path in sorted(directory.glob("encoders-cuda*.json"))]


def updated(page: str, found: Sequence[Report], on_gpu: Sequence[Report] = ()) -> str:
    """`page` with what stands between its marks written again. Raises ValueError without marks."""
    return rewritten(page, {"encoders": section(found, on_gpu)}, "make bench-encoders")


def section(found: Sequence[Report], on_gpu: Sequence[Report] = ()) -> str:
    parts = [*map(_engines, found), _bars(found)]
    parts += [_serving(report["serving"]) for report in found if report["serving"]]
    parts += [_quality(report["quality"]) for report in found if report.get("quality")]
    for report in on_gpu:  # all batch sizes: the largest that is fast enough is what a GPU is asked for
        parts += [_on_gpu(report, what) for what in dict.fromkeys(row["what"] for row in report["rows"])]
        parts += [_bars([report])] if report["bars"] else []
    return "\n\n".join(parts)


def rate(items_per_s: float) -> str:
    """Three digits of it."""
    return f"{items_per_s:.0f}" if items_per_s >= 100 else f"{items_per_s:.3g}"


def _engines(report: Report) -> str:
    batch, machine = main_batch({row["batch"] for row in report["rows"]}), report["machine"]
    by_engine: dict[str, dict[str, Report]] = {}
    for row in report["rows"]:
        if row["batch"] == batch and "," not in row["engine"]:  # uncompiled variants have one
            by_engine.setdefault(row["engine"], {})[row["what"]] = row
    lines = []
    for engine, own in by_engine.items():
        rates = [rate(own[what]["items_per_s"]) if what in own else "" for what in ("image", "short text")]
        least = min(own[what]["cosine"] for what in ("image", "short text") if what in own)
        lines.append((engine, *rates, f"{least:.5f}"))
    cpu = machine["cpu"].replace("(R)", "").removesuffix(" Processor")
    title = f"{report['model']} on {cpu}, {machine['cores']} cores, batch {batch}"
    return table((title, "pictures /s", "short texts /s", COSINE), lines)


def _bars(found: Sequence[Report]) -> str:
    named = [(report["model"], bar) for report in found for bar in report["bars"]]
    rows = [(f"{model}: {bar['name']}", measured(bar), f"{bar['sign']} {digits(bar['bar'])}") for model, bar in named]
    return table(("what was asked for", "measured", "bar"), rows)


def _serving(found: dict[str, float]) -> str:
    figures = {name: rate(value) for name, value in found.items()}
    memory = f"{figures['int8 image worker, MB']} ({figures['fp32 image worker, MB']})"
    cached, computed = (figures[f"one text {way} through TorchServe, ms"] for way in ("cached", "computed"))
    rows = (
        ("JPEGs (640×480) a second, 32 clients", figures["images/s through TorchServe, 32 clients"]),
        ("start to READY with the archive's packages, s", figures["worker start to READY with packages, s"]),
        ("start to READY when it must compile, s", figures["worker start to READY without packages, s"]),
        ("memory of an image worker, MB (fp32)", memory),
        ("one text from the cache, ms (computed)", f"{cached} ({computed})"),
    )
    return table(("ViT-B-32 through TorchServe, int8", "measured"), rows)


def _quality(rows: Sequence[Report]) -> str:
    digits = {"recall_at_1": 3, "recall_at_10": 3, "image_cosine": 5, "text_cosine": 5}
    head = ("demo model, unseen scenes", "recall@1", "recall@10", "least cosine, pictures", "texts")
    return table(head, [(row["engine"], *(f"{row[key]:.{n}f}" for key, n in digits.items())) for row in rows])


def _on_gpu(report: Report, what: str) -> str:
    own = [row for row in report["rows"] if row["what"] == what]
    batches = sorted({row["batch"] for row in own})
    lines = []
    for engine in dict.fromkeys(row["engine"] for row in own):
        rows = [row for row in own if row["engine"] == engine]
        rates = {row["batch"]: rate(row["items_per_s"]) for row in rows}
        least = min(row["cosine"] for row in rows)
        lines.append((engine, *(rates.get(batch, "") for batch in batches), _share(report, rows), f"{least:.5f}"))
    title = f"{report['model']} on one {report['gpu']['name']}, {what}s /s"
    return table((title, *(f"batch {batch}" for batch in batches), "share of GEMM ceiling", COSINE), lines)


def _share(report: Report, rows: Sequence[Report]) -> str:
    """Of what the GPU's matrix products reach in the engine's own type, at its best batch; known of pictures."""
    gflop = GFLOP_PER_IMAGE.get(report["model"]) if rows[0]["what"] == "image" else None
    ceiling = report["gemm_gflops"].get(rows[0]["engine"].split()[1].rstrip(","))
    return f"{max(row['items_per_s'] for row in rows) * gflop / ceiling:.2f}" if gflop and ceiling else ""


if __name__ == "__main__":
    write()
