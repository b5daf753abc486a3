"""`--precision auto` takes the fastest that passes its gates, and says why the others are out."""

from __future__ import annotations

from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
import torch
from PIL import Image
from rich.console import Console

from clip_core.errors import BadModel
from scripts.archive.build import build
from scripts.archive.gate_set import GateSet, Quality, quality, recall_at
from scripts.archive.model_source import ModelSource
from scripts.archive.precision_choice import CANDIDATES, fastest, gated, show
from scripts.archive.tower_build import Judged
from scripts.archive.verify import verify

SOURCE = ModelSource(name="x", cosine_floor=0.999, recall_loss_limit=0.01)


def judged(precision: str, rate: float, cosine: float = 1.0, recall: float = 0.9) -> Judged:
    return Judged(precision, Quality(cosine, 1.0, recall, recall), rate, rate)


def test_the_fastest_that_passes_is_taken() -> None:
    rows = [gated(row, SOURCE, 0.9) for row in (judged("fp32", 1), judged("bf16", 2), judged("int8", 3, cosine=0.998))]
    best = fastest(rows)
    assert best is not None
    assert best.precision == "bf16"
    assert "cosine 0.99800 below 0.999" in str(rows[2].failed)
    assert fastest(rows[2:]) is None


def test_recall_is_a_gate_of_its_own() -> None:
    assert "recall@10 loss 0.0200" in str(gated(judged("int8", 3, recall=0.88), SOURCE, 0.9).failed)
    assert gated(judged("int8", 3, recall=0.895), SOURCE, 0.9).failed is None
    assert gated(replace(judged("int8", 3, recall=0.95)), SOURCE, 0.9).failed is None


def test_recall_counts_pairs_among_the_nearest() -> None:
    same = torch.eye(30)
    assert recall_at(10, same, same) == recall_at(1, same, same) == 1.0
    assert recall_at(10, same, -same) == 0.0
    second = same + 2 * same.roll(1, dims=0)  # each caption's own picture comes second
    assert (recall_at(1, second, same), recall_at(2, second, same)) == (0.0, 1.0)


def test_quality_names_the_worst_vector_and_catches_nan() -> None:
    good, bad = torch.eye(12), torch.eye(12)
    bad[3, 4] = 1.0
    assert quality(bad, good, good, good).image_cosine == pytest.approx(0.5**0.5)
    bad[0, 0] = float("nan")
    assert quality(bad, good, good, good).cosine == -1.0


def test_a_gate_set_needs_pictures_with_captions(tmp_path: Path) -> None:
    with pytest.raises(BadModel, match="0 pictures"):
        GateSet.from_directory(tmp_path)
    for i in range(11):
        Image.new("RGB", (20, 10), (i, 0, 0)).save(tmp_path / f"{i:02}.png")
        (tmp_path / f"{i:02}.txt").write_text(f"picture {i}\n")
    gate = GateSet.from_directory(tmp_path)
    assert (len(gate.images), gate.captions[10]) == (11, "picture 10")


def test_auto_builds_what_it_chose_and_shows_why(tmp_path: Path, checkpoint: Path) -> None:
    shown: list[tuple[list[Judged], str]] = []
    archives = build(
        "vit-b-32",
        checkpoint=checkpoint,
        model_store=tmp_path,
        compile=False,
        show=lambda rows, chosen: shown.append((rows, chosen)),
    )
    ((rows, chosen),) = shown
    assert [row.precision for row in rows] == list(CANDIDATES)
    assert verify(archives[0]).precision == chosen
    assert next(row for row in rows if row.precision == chosen).failed is None
    page = StringIO()
    show(rows, chosen, Console(file=page, width=120))
    assert "chosen" in page.getvalue()
    stamps = [path.stat().st_mtime_ns for path in archives]
    build("vit-b-32", checkpoint=checkpoint, model_store=tmp_path, compile=False)
    assert [path.stat().st_mtime_ns for path in archives] == stamps
