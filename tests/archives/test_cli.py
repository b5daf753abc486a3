"""`clipserve archive …` as typed."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from scripts.cli import app
from scripts.stack.up_settings import UpSettings

RUNNER = CliRunner(env={"COLUMNS": "200", "TERM": "dumb"})


def test_list_shows_models_archives_and_damage(archives: list[Path], tmp_path: Path) -> None:
    for path in archives:
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "broken.mar").write_bytes(b"PK")
    shown = RUNNER.invoke(app, ["archive", "list", "--model-store", str(tmp_path)])
    assert shown.exit_code == 0
    for word in ("vit-b-32", "siglip-b-16", "clip_text.mar", "clip_multimodal.mar", "damaged"):
        assert word in shown.output


def test_verify_prints_cosines(archives: list[Path]) -> None:
    shown = RUNNER.invoke(app, ["archive", "verify", str(archives[0])])
    assert shown.exit_code == 0
    assert "text: CausalTextTower" in shown.output
    assert "0.999" in shown.output or "1.0000" in shown.output


def test_build_says_what_it_wrote(checkpoint: Path, tmp_path: Path) -> None:
    options = ["--checkpoint", str(checkpoint), "--model-store", str(tmp_path), "--prefix", "tiny"]
    shown = RUNNER.invoke(app, ["archive", "build", "demo", *options])
    assert shown.exit_code == 0, shown.output
    assert "tiny_text.mar" in shown.output
    assert (tmp_path / "tiny_multimodal.mar").exists()


@pytest.mark.parametrize("command", [[], ["archive"], ["archive", "build"], ["up"], ["ingest"], ["search"], ["embed"]])
def test_every_command_explains_itself(command: list[str]) -> None:
    shown = RUNNER.invoke(app, [*command, "--help"])
    assert shown.exit_code == 0
    assert len(shown.output.splitlines()) > 8


def test_the_help_of_up_shows_every_setting() -> None:
    shown = RUNNER.invoke(app, ["up", "--help"]).output
    for name in UpSettings.model_fields:
        assert f"--{name.replace('_', '-')}" in shown
        assert f"CLIPSERVE_{name.upper()}" in shown
