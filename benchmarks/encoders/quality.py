"""What each precision costs the demo model: cosine to open_clip, and recall among scenes that it never saw.

Random weights tell the speed of a precision, not its quality. So the demo model's towers run in every precision that
this machine has, uncompiled, on rendered one-object scenes of combinations left out of its training; int8-static is
calibrated on other scenes. Text→image recall, by canonical captions.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from clip_core.networks.precision import unavailable
from scripts.archive.gate_set import GateSet, quality
from scripts.archive.model_source import ModelSource, load
from scripts.archive.places import ARCHIVE_DIR
from scripts.archive.tower_build import Judge, build_towers

PAIRS, SEED = 200, 101  # the scenes of "one object, unseen combinations" in scripts/demo/evaluate.py
PRECISIONS = ("fp32", "bf16", "int8", "int8-static")


def measure_quality() -> list[dict[str, Any]]:
    """A row for open_clip in float32, then one for each precision."""
    loaded = load(ModelSource.read(ARCHIVE_DIR / "demo"))
    judge = Judge(loaded, GateSet.rendered(PAIRS, SEED))
    seen = {"open_clip fp32": quality(*judge.reference, *judge.reference)}
    for precision in PRECISIONS:
        if unavailable(precision) is None:
            seen[f"ours {precision}"] = judge.quality(build_towers(loaded, precision, GateSet.rendered(), None))
    rounded = {engine: {key: round(value, 6) for key, value in asdict(found).items()} for engine, found in seen.items()}
    return [{"engine": engine, **figures} for engine, figures in rounded.items()]
