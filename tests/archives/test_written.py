"""An archive is looked at after it is written, and one that no worker would serve with is not written at all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from clip_core.errors import BadModel
from scripts.archive import pack
from scripts.archive.build import build
from scripts.archive.mar_files import check_written, unpacked
from scripts.archive.tower_build import BuiltTowers


@pytest.mark.parametrize("name", ["a[1]", "a,b *ä?:[c"])
def test_any_store_path_will_do(tmp_path: Path, checkpoint: Path, name: str) -> None:
    mars = build("demo", checkpoint=checkpoint, model_store=tmp_path / name)
    assert mars[0].stat().st_size > 1_000_000
    with unpacked(mars[1]) as directory:
        assert (directory / "open_clip_model.safetensors").is_file()


def test_what_the_archiver_left_out_is_noticed(
    tmp_path: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = pack.stage

    def with_a_hidden_folder(folder: Path, *rest: Any, **named: Any) -> None:
        stage(folder, *rest, **named)
        (folder / ".hidden").mkdir()
        (folder / ".hidden" / "file").write_text("torch-model-archiver leaves such folders out")

    monkeypatch.setattr("scripts.archive.build.stage", with_a_hidden_folder)
    with pytest.raises(
        BadModel, match=r"clip_text.mar was not written whole: 1 files are wrong in it, such as .hidden"
    ):
        build("demo", checkpoint=checkpoint, model_store=tmp_path / "store")
    assert not list((tmp_path / "store").glob("*.mar"))


def test_a_changed_file_and_half_an_archive_are_noticed(archives: list[Path], tmp_path: Path) -> None:
    (tmp_path / "model_spec.json").write_text("{}")
    with pytest.raises(BadModel, match=r"such as model_spec.json"):
        check_written(archives[0], {"model_spec.json": tmp_path / "model_spec.json"})
    half = tmp_path / "half.mar"
    half.write_bytes(archives[0].read_bytes()[:1000])
    with pytest.raises(BadModel, match="not written whole"):
        check_written(half, {})


def test_a_precision_below_the_floor_is_refused_before_it_is_compiled(
    tmp_path: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = BuiltTowers.image
    monkeypatch.setattr(BuiltTowers, "image", lambda towers, pixels: image(towers, pixels).flip(-1))
    with pytest.raises(BadModel) as caught:
        build("vit-b-32", checkpoint=checkpoint, model_store=tmp_path / "store", precision="bf16", compile=True)
    said = caught.value.message
    assert said.startswith("bf16 brings a canary of vit-b-32 to the cosine ")
    assert "below its floor 0.999: choose another precision" in said
    assert "\n" not in said
    assert list((tmp_path / "store").iterdir()) == []
