"""What each precision costs the demo model: cosine to open_clip, and recall among scenes that it never saw.

    python -m benchmarks.encoders.quality

Random weights tell the speed of a precision, not its quality. So the demo model's towers run in every precision that
this machine has, uncompiled, on rendered one-object scenes of combinations left out of its training; int8-static is
calibrated on other scenes. Text→image recall, by canonical captions.
"""

from __future__ import annotations

import json
from typing import Any

from rich.console import Console
from rich.table import Table

from clip_core.networks.precision import unavailable
from scripts.archive.gate_set import GateSet, Quality, quality
from scripts.archive.model_source import ModelSource, load
from scripts.archive.places import ARCHIVE_DIR
from scripts.archive.tower_build import Judge, build_towers

PAIRS, SEED = 200, 101  # the scenes of "one object, unseen combinations" in scripts/demo/evaluate.py
PRECISIONS = ("fp32", "bf16", "int8", "int8-static")


def measure_quality(pairs: int = PAIRS) -> list[dict[str, Any]]:
    """A row for open_clip in float32, then one for each precision."""
    loaded = load(ModelSource.read(ARCHIVE_DIR / "demo"))
    judge = Judge(loaded, GateSet.rendered(pairs, SEED))
    rows = [_row("open_clip fp32", quality(*judge.reference, *judge.reference))]
    for precision in PRECISIONS:
        if unavailable(precision) is None:
            towers = build_towers(loaded, precision, GateSet.rendered(), None)
            rows.append(_row(f"ours {precision}", judge.quality(towers)))
    return rows


def _row(engine: str, seen: Quality) -> dict[str, Any]:
    return {
        "engine": engine,
        "recall_at_1": round(seen.recall_at_1, 6),
        "recall_at_10": round(seen.recall_at_10, 6),
        "image_cosine": round(seen.image_cosine, 6),
        "text_cosine": round(seen.text_cosine, 6),
    }


def show(rows: list[dict[str, Any]], console: Console) -> None:
    table = Table("demo model, unseen scenes", "recall@1", "recall@10", "least image cosine", "least text cosine")
    for row in rows:
        recalls = (f"{row['recall_at_1']:.3f}", f"{row['recall_at_10']:.3f}")
        table.add_row(row["engine"], *recalls, f"{row['image_cosine']:.6f}", f"{row['text_cosine']:.6f}")
    console.print(table)


def main() -> None:
    rows = measure_quality()
    show(rows, Console(stderr=True))
    print(json.dumps(rows))


if __name__ == "__main__":
    main()
