"""The encoders' tables in docs/performance.md, from the committed results.

    python -m benchmarks.encoders.tables

`make bench-encoders` writes them too. They stand between two marks, so that no figure is copied by hand.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.encoders.bars import GFLOP_PER_IMAGE
from benchmarks.encoders.rounds import main_batch

PAGE = Path(__file__).resolve().parents[2] / "docs" / "performance.md"
RESULTS = Path(__file__).resolve().parent.parent / "results"
BEGIN, END = "<!-- encoders: written by `make bench-encoders` -->\n", "<!-- end of encoders -->\n"
Report = dict[str, Any]


def rate(items_per_s: float) -> str:
    """Three digits of it."""
    return f"{items_per_s:.0f}" if items_per_s >= 100 else f"{items_per_s:.3g}"


def write() -> None:
    PAGE.write_text(updated(PAGE.read_text(encoding="utf-8"), reports(), gpu_reports()), encoding="utf-8")


def reports() -> list[Report]:
    """ViT-B/32's, and ViT-L/14's when it has been measured."""
    paths = (RESULTS / "encoders.json", RESULTS / "encoders-vit-l-14.json")
    return [json.loads(path.read_text(encoding="utf-8")) for path in paths if path.exists()]


def gpu_reports(directory: Path = RESULTS) -> list[Report]:
    """None until the benchmark has run on a GPU."""
    return [json.loads(path.read_text(encoding="utf-8")) for path in sorted(directory.glob("encoders-cuda*.json"))]


def updated(page: str, found: Sequence[Report], on_gpu: Sequence[Report] = ()) -> str:
    """`page` with what stands between its marks written again. Raises ValueError without marks."""
    head, _, rest = page.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not end:
        raise ValueError(f"{PAGE.name} has lost its marks {BEGIN.strip()} and {END.strip()}")
    return head + BEGIN + section(found, on_gpu) + END + tail


def section(found: Sequence[Report], on_gpu: Sequence[Report] = ()) -> str:
    parts = [_engines(report) for report in found]
    parts += [_bars(found), *(_serving(report["serving"]) for report in found if report["serving"])]
    parts += [_quality(report["quality"]) for report in found if report.get("quality")]
    parts += [part for report in on_gpu for part in _on_gpu(report)]
    return "\n" + "\n\n".join(parts) + "\n\n"


def _engines(report: Report) -> str:
    batch = main_batch({row["batch"] for row in report["rows"]})
    table = {(row["what"], row["engine"]): row for row in report["rows"] if row["batch"] == batch}
    engines = [e for e in dict.fromkeys(engine for _, engine in table) if "," not in e]  # uncompiled variants have one
    return _table(
        (
            f"{report['model']} on {_cpu(report)}, batch {batch}",
            *("pictures /s", "short texts /s", "least cosine to open_clip fp32"),
        ),
        ((engine, *_figures(table, engine)) for engine in engines),
    )


def _cpu(report: Report) -> str:
    """The processor's name as people say it, and its cores."""
    found = report["machine"]
    return f"{found['cpu'].replace('(R)', '').removesuffix(' Processor')}, {found['cores']} cores"


def _figures(table: dict[tuple[str, str], Report], engine: str) -> tuple[str, str, str]:
    picture, text = table.get(("image", engine)), table.get(("short text", engine))
    least = min(row["cosine"] for row in (picture, text) if row)
    rates = [rate(row["items_per_s"]) if row else "" for row in (picture, text)]
    return rates[0], rates[1], f"{least:.5f}"


def _bars(found: Sequence[Report]) -> str:
    return _table(
        ("what was asked for", "measured", "bar"),
        (
            (f"{report['model']}: {bar['name']}", _measured(bar), f"{bar['sign']} {bar['bar']:.3g}")
            for report in found
            for bar in report["bars"]
        ),
    )


def _measured(bar: Report) -> str:
    if bar["value"] is None:
        return "not measured"
    return f"{bar['value']:.3g}" + ("" if bar["holds"] else " (missed)")


def _serving(found: dict[str, float]) -> str:
    return _table(
        ("ViT-B-32 through TorchServe, int8", "measured"),
        (
            ("JPEGs (640×480) a second, 32 clients", rate(found["images/s through TorchServe, 32 clients"])),
            ("start to READY with the archive's packages, s", rate(found["worker start to READY with packages, s"])),
            ("start to READY when it must compile, s", rate(found["worker start to READY without packages, s"])),
            ("memory of an image worker, MB (fp32)", _pair(found, "int8 image worker, MB", "fp32 image worker, MB")),
            (
                "one text from the cache, ms (computed)",
                _pair(found, "one text cached through TorchServe, ms", "one text computed through TorchServe, ms"),
            ),
        ),
    )


def _pair(found: dict[str, float], one: str, other: str) -> str:
    return f"{rate(found[one])} ({rate(found[other])})"


def _quality(rows: Iterable[Report]) -> str:
    keys = ("recall_at_1", "recall_at_10", "image_cosine", "text_cosine")
    return _table(
        ("demo model, unseen scenes", "recall@1", "recall@10", "least cosine, pictures", "texts"),
        (
            (row["engine"], *(f"{row[key]:.5f}" if "cosine" in key else f"{row[key]:.3f}" for key in keys))
            for row in rows
        ),
    )


def _on_gpu(report: Report) -> list[str]:
    """All batch sizes, since the largest that is fast enough is what a GPU is asked for."""
    whats = dict.fromkeys(row["what"] for row in report["rows"])
    bars = [_bars([report])] if report["bars"] else []
    return [*(_gpu_rates(report, what) for what in whats), *bars]


def _gpu_rates(report: Report, what: str) -> str:
    own = [row for row in report["rows"] if row["what"] == what]
    batches = sorted({row["batch"] for row in own})
    engines = {engine: [row for row in own if row["engine"] == engine] for engine in (row["engine"] for row in own)}
    title = f"{report['model']} on one {report['gpu']['name']}, {what}s /s"
    return _table(
        (title, *(f"batch {batch}" for batch in batches), "share of GEMM ceiling", "least cosine to open_clip fp32"),
        (
            (engine, *_rates(rows, batches), _share(report, rows), f"{min(row['cosine'] for row in rows):.5f}")
            for engine, rows in engines.items()
        ),
    )


def _rates(rows: Iterable[Report], batches: Iterable[int]) -> list[str]:
    found = {row["batch"]: rate(row["items_per_s"]) for row in rows}
    return [found.get(batch, "") for batch in batches]


def _share(report: Report, rows: Sequence[Report]) -> str:
    """Of what the GPU's matrix products reach in the engine's own type, at its best batch; known of pictures."""
    gflop = GFLOP_PER_IMAGE.get(report["model"]) if rows[0]["what"] == "image" else None
    ceiling = report["gemm_gflops"].get(rows[0]["engine"].split()[1].rstrip(","))
    return f"{max(row['items_per_s'] for row in rows) * gflop / ceiling:.2f}" if gflop and ceiling else ""


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    write()
