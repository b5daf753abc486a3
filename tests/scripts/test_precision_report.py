"""`clipserve bench precisions`: a small model beside open_clip, in every precision that this machine has."""

from __future__ import annotations

import json
from pathlib import Path

from typer.testing import CliRunner

from clip_core.networks.precision import unavailable
from scripts.archive.precision_choice import CANDIDATES
from scripts.cli import app


def test_a_report_of_a_model(checkpoint: Path, tmp_path: Path) -> None:
    command = ["bench", "precisions", "vit-b-32", "--checkpoint", str(checkpoint), "--no-compile"]
    runner = CliRunner()
    for name in ("report.json", "report.md"):
        done = runner.invoke(app, [*command, "--out", str(tmp_path / name)], catch_exceptions=False)
        assert done.exit_code == 0, done.output
    told = json.loads((tmp_path / "report.json").read_text())
    rows = {row["precision"]: row for row in told["rows"]}
    assert list(rows) == ["open_clip fp32", *CANDIDATES]
    assert rows["open_clip fp32"]["quality"]["recall_at_10"] == rows["fp32"]["quality"]["recall_at_10"]
    assert rows["fp32"]["quality"]["image_cosine"] > 0.99999
    assert rows["fp32"]["images_per_s"] > 0
    for precision in CANDIDATES:
        built = unavailable(precision, "cpu") is None
        assert (rows[precision]["quality"] is not None) == built
    assert told["chosen"] in CANDIDATES
    assert len(told["fingerprint"]) >= 16
    page = (tmp_path / "report.md").read_text()
    assert "| open_clip fp32 |" in page
    assert "chosen by `auto`" in page
    assert page.splitlines()[5].startswith("| precision |")
