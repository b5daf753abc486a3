"""Packages are used on their like only; a worker without one that fits says so and serves all the same."""

from __future__ import annotations

import json
import logging
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from clip_core.encode.canaries import check
from clip_core.encode.encoders import Encoders
from clip_core.endpoint_config import EndpointConfig
from clip_core.errors import BadModel
from clip_core.model_spec import ModelSpec
from clip_core.towers import artifacts
from clip_core.towers.artifacts import TowerFacts
from clip_core.towers.compiling import MAX_BATCH, Machine, compile_package, load_package
from scripts.archive.build import build
from scripts.archive.mar_files import unpacked
from scripts.archive.verify import verify


def test_a_machine_is_equal_to_itself_and_names_what_differs(tmp_path: Path) -> None:
    here = Machine.here()
    here.write(tmp_path / "machine.json")
    assert Machine.read(tmp_path / "machine.json").difference(here) is None
    assert "torch 1.0, here" in str(replace(here, torch="1.0").difference(here))
    assert "m68k, here" in str(replace(here, architecture="m68k").difference(here))
    assert "amx_new" in str(replace(here, features=(*here.features, "amx_new")).difference(here))


@pytest.mark.parametrize("text", ["", "[]", '{"torch": "2"}'])
def test_a_damaged_machine_file_is_an_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "machine.json").write_text(text)
    with pytest.raises(BadModel, match=r"machine\.json"):
        Machine.read(tmp_path / "machine.json")


def test_packages_of_another_machine_are_not_used(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert not artifacts.usable(tmp_path, "cpu")
    (tmp_path / artifacts.DIRECTORY).mkdir()
    path = tmp_path / artifacts.DIRECTORY / "machine.json"
    Machine.here().write(path)
    assert artifacts.usable(tmp_path, "cpu")
    replace(Machine.here(), torch="1.0").write(path)
    with caplog.at_level(logging.WARNING):
        assert not artifacts.usable(tmp_path, "cpu")
    assert "another machine" in caplog.text


def test_facts_survive_their_file(tmp_path: Path) -> None:
    for facts in (TowerFacts("OpenClipText"), TowerFacts("CausalTextTower", cuts=True, eos_id=7)):
        facts.write(tmp_path / "text.json")
        assert TowerFacts.read(tmp_path / "text.json") == facts
    (tmp_path / "text.json").write_text('{"colour": "red"}')
    with pytest.raises(BadModel):
        TowerFacts.read(tmp_path / "text.json")


def test_a_damaged_package_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "text.pt2").write_bytes(b"PK\x03\x04 and nothing")
    with pytest.raises(BadModel, match=r"text\.pt2"):
        load_package(tmp_path / "text.pt2")


def test_what_cannot_be_exported_is_named(tmp_path: Path) -> None:
    class Branching(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x if float(x.sum()) > 0 else -x

    with pytest.raises(BadModel, match="Branching can't be compiled"):
        compile_package(Branching(), torch.ones(2, 3), tmp_path / "x.pt2")


@pytest.fixture(scope="module")
def compiled(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The archives of the tiny checkpoint, in int8 and compiled."""
    directory = tmp_path_factory.mktemp("compiled")
    keys = {"name": "tiny", "checkpoint": str(checkpoint), "precision": "int8", "cosine_floor": 0.999}
    (directory / "model.yaml").write_text(json.dumps(keys))
    return build(str(directory), model_store=directory / "store")


@pytest.mark.slow
def test_a_compiled_archive_serves_what_its_canaries_say(compiled: list[Path]) -> None:
    for mar in compiled:
        seen = verify(mar)
        assert seen.precision == "int8"
        assert 0.999 < min(seen.cosines) < 1.0
        assert all("(compiled)" in tower for tower in seen.towers.values())


@pytest.mark.slow
def test_a_package_takes_every_batch_and_length_and_refuses_none_silently(compiled: list[Path]) -> None:
    with unpacked(compiled[2]) as directory:
        encoders = Encoders.load(directory, EndpointConfig(threads=2))
        assert encoders.text is not None
        assert encoders.image is not None
        encoders.warm_up()
        ids = torch.ones(70, 77, dtype=torch.int64)
        ids[torch.arange(70), torch.arange(70) + 5] = 49407
        together = encoders.text.forward(ids)
        for i in (0, 3, 40, 69):
            alone = encoders.text.forward(ids[i : i + 1])
            assert float(torch.cosine_similarity(alone, together[i : i + 1]).min()) > 0.9999
        for batch in (0, MAX_BATCH + 1):
            with pytest.raises(BadModel, match="takes 1 to"):
                encoders.image.run(torch.zeros(batch, 3, 1, 1, dtype=torch.uint8))


@pytest.mark.slow
def test_without_a_package_that_fits_the_worker_compiles_or_runs_uncompiled(
    compiled: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with unpacked(compiled[0]) as directory:
        bare = tmp_path / "bare"
        shutil.copytree(directory, bare, ignore=shutil.ignore_patterns(artifacts.DIRECTORY))
    assert ModelSpec.read(bare).compile
    encoders = Encoders.load(bare, EndpointConfig(threads=2))
    assert encoders.text is not None
    assert encoders.text.compiled
    assert min(check(encoders, bare)) > 0.999
    monkeypatch.setenv("PATH", str(tmp_path))  # where no compiler is
    monkeypatch.delenv("CXX", raising=False)
    encoders = Encoders.load(bare, EndpointConfig(threads=2))
    assert encoders.text is not None
    assert not encoders.text.compiled
    assert min(check(encoders, bare)) > 0.999
