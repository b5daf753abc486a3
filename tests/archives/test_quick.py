"""Quick archives: built without compiling, with the vectors of the whole ones, and known as quick."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from clip_core.errors import BadModel
from scripts import costs
from scripts.archive.build import build, full_cost, standing
from scripts.archive.mar_files import read_spec
from scripts.archive.resolver import resolve
from scripts.archive.verify import verify
from scripts.cli import app


@pytest.fixture
def half(tmp_path: Path, checkpoint: Path) -> dict[str, Any]:
    """A model whose whole archives are of bf16."""
    directory = tmp_path / "archive" / "half"
    directory.mkdir(parents=True)
    body = {"name": "half", "checkpoint": str(checkpoint), "precision": "bf16", "compile": False, "cosine_floor": 0.99}
    (directory / "model.yaml").write_text(json.dumps(body), encoding="utf-8")
    return {"model": str(directory), "model_store": tmp_path / "store"}


def test_quick_archives_have_the_fingerprint_of_the_whole_ones(half: dict[str, Any]) -> None:
    assert standing(**half) == "stale"
    quick = [read_spec(mar) for mar in build(**half, quick=True)]
    assert standing(**half) == "quick"
    whole = [read_spec(mar) for mar in build(**half)]
    assert standing(**half) == "whole"
    assert [spec.precision for spec in quick + whole if spec] == ["fp32"] * 3 + ["bf16"] * 3
    assert len({spec.fingerprint for spec in quick + whole if spec}) == 1
    assert not any(spec.compile for spec in quick if spec)


def test_quick_archives_pass_their_canaries(half: dict[str, Any]) -> None:
    assert min(min(verify(mar).cosines) for mar in build(**half, quick=True)) > 0.99999


def test_where_quick_is_all_there_is_nothing_is_left_to_do(tmp_path: Path, checkpoint: Path) -> None:
    build("demo", checkpoint=checkpoint, model_store=tmp_path, quick=True)
    assert standing("demo", checkpoint, tmp_path) == "whole"


@pytest.mark.parametrize("other", [["--precision", "int8"], ["--compile"]])
def test_quick_and_what_contradicts_it(other: list[str], tmp_path: Path) -> None:
    options = ["archive", "build", "demo", "--quick", *other, "--model-store", str(tmp_path)]
    shown = CliRunner(env={"TERM": "dumb"}).invoke(app, options)
    assert shown.exit_code == 2
    assert "--quick is fp32" in " ".join(shown.output.split())


def test_long_steps_say_what_they_cost_first(checkpoint: Path, tmp_path: Path) -> None:
    options = ["archive", "build", "demo", "--checkpoint", str(checkpoint), "--model-store", str(tmp_path)]
    shown = CliRunner(env={"COLUMNS": "200", "TERM": "dumb"}).invoke(app, options).output.splitlines()
    assert "loading the weights of demo: about 5 s, 0.5 GB of memory" in shown


def test_a_short_disk_is_said_before_anything_is_compiled(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(costs, "disk", lambda *_: 1e18)
    with pytest.raises(BadModel, match=r"the build takes about 1000000000.0 GB of disk, and .* GB free"):
        build("demo", checkpoint=checkpoint, model_store=tmp_path)
    assert not list(tmp_path.glob("*"))


def test_the_cost_of_vit_b_32_is_near_what_was_measured() -> None:
    """18 minutes and 4.7 GB on two cores."""
    cost = full_cost(resolve("vit-b-32").source, 151_277_313)
    assert 15 * 60 < cost.seconds < 22 * 60
    assert 4e9 < cost.memory_bytes < 6e9
    assert str(cost).startswith("about ")
