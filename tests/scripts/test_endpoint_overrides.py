"""Archives served with other settings than their own: unpacked, and written over."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest
import yaml

from clip_core.errors import BadModel
from scripts.stack.endpoint_overrides import OverriddenArchives

OWN = {"minWorkers": 1, "maxWorkers": 1, "batchSize": 16, "maxBatchDelay": 1}


@pytest.fixture
def mar(tmp_path: Path) -> Path:
    path = tmp_path / "store" / "clip_text.mar"
    path.parent.mkdir()
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("model-config.yaml", yaml.safe_dump(OWN))
        archive.writestr("weights", "old")
    return path


def overridden(mar: Path, tmp_path: Path, **keys: object) -> OverriddenArchives:
    archives = {"clip_text": mar, "clip_image": mar.parent / "clip_image.mar"}
    return OverriddenArchives(archives, {"clip_text": keys, "clip_image": {}}, tmp_path / "run")


def config(made: OverriddenArchives) -> dict[str, object]:
    read: dict[str, object] = yaml.safe_load((made.folder / "clip_text" / "model-config.yaml").read_text())
    return read


def test_only_what_is_overridden_is_unpacked(mar: Path, tmp_path: Path) -> None:
    made = overridden(mar, tmp_path, batchSize=4)
    made.write()
    assert made.sources() == {"clip_text": str(tmp_path / "run" / "clip_text"), "clip_image": "clip_image.mar"}
    assert config(made) == {**OWN, "batchSize": 4}
    with zipfile.ZipFile(mar) as archive:
        assert yaml.safe_load(archive.read("model-config.yaml")) == OWN


def test_more_workers_raise_the_most(mar: Path, tmp_path: Path) -> None:
    made = overridden(mar, tmp_path, minWorkers=3)
    made.write()
    assert config(made) == {**OWN, "minWorkers": 3, "maxWorkers": 3}


def test_each_start_takes_what_the_store_holds_then(mar: Path, tmp_path: Path) -> None:
    made = overridden(mar, tmp_path, batchSize=4)
    made.write()
    with zipfile.ZipFile(mar, "w") as archive:
        archive.writestr("model-config.yaml", yaml.safe_dump(OWN))
        archive.writestr("weights.new", "new")
    made.write()
    names = sorted(path.name for path in (made.folder / "clip_text").iterdir())
    assert names == ["model-config.yaml", "weights.new"]


def test_an_archive_that_is_not_whole(mar: Path, tmp_path: Path) -> None:
    mar.write_bytes(mar.read_bytes()[:40])
    with pytest.raises(BadModel, match="is not a whole archive"):
        overridden(mar, tmp_path, batchSize=4).write()
