"""What a machine lacks leaves bars at null, with the reason."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from rich.console import Console

from benchmarks.ship import images
from benchmarks.ship.__main__ import BARS, CHART, DEMO, VIT, Measured
from benchmarks.ship.engine import DockerEngine
from benchmarks.ship.missing import NotHereError


def missing() -> Mapping[str, float]:
    raise NotHereError("no engine")


def test_what_is_missing_is_a_reason() -> None:
    measured = Measured(Console(quiet=True))
    measured.take(CHART, missing)
    measured.take(DEMO, lambda: {"demo_ready_s": 3.0})
    rows = {row["name"]: row for row in measured.judged()}
    assert set(rows) == set(BARS)
    assert rows["demo_ready_s"] == {"name": "demo_ready_s", "value": 3.0, "bar": 15.0, "holds": True}
    assert [(rows[name]["value"], rows[name]["reason"]) for name in CHART] == [(None, "no engine")] * len(CHART)


def test_without_an_engine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    with pytest.raises(NotHereError, match="no Docker engine answers"):
        images.images("0.1.0", None).__enter__()


def test_without_archives_of_a_model() -> None:
    measured = Measured(Console(quiet=True))
    measured.take(VIT, lambda: images.vit_ready(images.Images(DockerEngine(), "none"), None))
    assert "python -m benchmarks.ship.vit_store DIR" in measured.reasons["vit_b_32_ready_s"]
