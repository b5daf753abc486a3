"""What a user types names one model, or an error says in one line why it names none."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from clip_core.errors import BadModel
from scripts.archive.build import build
from scripts.archive.forms.guess import candidates
from scripts.archive.forms.read_path import read_path
from scripts.archive.model_source import CANARY_TEXTS, ModelSource
from scripts.archive.places import ARCHIVE_DIR
from scripts.archive.resolver import name_of, resolve
from tests.archives.forms import write_architecture, write_clip
from tests.checkpoints import VIT, write_checkpoint


def test_a_given_name_is_its_yaml() -> None:
    resolved = resolve("vit-b-32")
    assert resolved.source == ModelSource.read(ARCHIVE_DIR / "vit-b-32")
    assert resolved.directory == ARCHIVE_DIR / "vit-b-32"


@pytest.mark.parametrize("text", ["ViT-B-32/openai", "ViT-B/32/openai"])
def test_a_tag(text: str) -> None:
    source = resolve(text).source
    assert (source.architecture, source.pretrained, source.checkpoint) == ("ViT-B-32", "openai", None)
    assert (source.precision, source.compile, source.canary_texts) == ("auto", True, CANARY_TEXTS)


def test_without_a_yaml_the_canaries_are_those_of_vit_b_32() -> None:
    assert resolve("vit-b-32").source.canary_texts == CANARY_TEXTS


def test_a_repository_of_the_hub() -> None:
    source = resolve("hf-hub:timm/vit_base_patch32_clip_224.openai@main", precision="fp32", name="mine").source
    assert (source.hub, source.name) == ("timm/vit_base_patch32_clip_224.openai@main", "mine")
    assert (source.precision, source.checkpoint) == ("fp32", None)


def test_a_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run 1").mkdir()
    (tmp_path / "run 1" / "epoch_5.pt").touch()
    for text, name in (("run 1/epoch_5.pt", "epoch_5"), ("run 1", "run-1"), (str(tmp_path / "run 1"), "run-1")):
        source = resolve(text, architecture="ViT-B-32").source
        assert (source.checkpoint, source.name) == (str((tmp_path / text).resolve()), name)


def test_other_weights_for_a_tag_keep_its_architecture(tmp_path: Path) -> None:
    (tmp_path / "w.pt").touch()
    source = resolve("ViT-B-32/openai", tmp_path / "w.pt").source
    assert (source.architecture, source.pretrained) == ("ViT-B-32", None)
    assert source.checkpoint == str(tmp_path / "w.pt")


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("ViT-B-32/openai", "ViT-B-32-openai"),
        ("hf-hub:laion/CLIP-ViT-B-32", "CLIP-ViT-B-32"),
        ("hf-hub:a/b@v1", "b"),
        ("../..", None),
        ("/", "model"),
    ],
)
def test_names(text: str, name: str | None) -> None:
    found = name_of(text)
    assert name is None or found == name
    assert found.strip()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("vit-b-33", r"no model under archive/ \(.*vit-b-32.*near it: vit-b-32"),
        ("ViT-B-32", r"is an architecture: name its weights too, such as ViT-B-32/openai"),
        ("openai/clip-vit-base-patch32", r"hf-hub:openai/clip-vit-base-patch32 is looked for on the hub"),
        ("hf-hub:nothing", "names no repository"),
        ("hf-hub:a/b@", "names no repository"),
        ("", "no model under archive/"),
    ],
)
def test_what_names_nothing(text: str, message: str) -> None:
    with pytest.raises(BadModel, match=message) as caught:
        resolve(text)
    assert "\n" not in caught.value.message


@pytest.mark.parametrize("name", ["", "a b", "../x", "-x", "x" * 81])
def test_a_name_is_no_path(name: str) -> None:
    with pytest.raises(BadModel, match="a model's name is"):
        resolve("demo", name=name)


def test_resolving_imports_no_torch() -> None:
    program = "import sys; from scripts.archive.build import standing; standing('demo'); "
    done = subprocess.run([sys.executable, "-c", program + "sys.exit('torch' in sys.modules)"], cwd=ARCHIVE_DIR.parent)
    assert done.returncode == 0


def test_the_hub_is_asked_before_torch_is_imported(tmp_path: Path) -> None:
    program = (
        "import sys; from typer.testing import CliRunner; from scripts.cli import app; "
        "done = CliRunner().invoke(app, ['archive', 'build', 'hf-hub:a/b', '--model-store', sys.argv[1]]); "
        "sys.exit('torch' in sys.modules or 'does not answer' not in str(done.exception))"
    )
    away = {**os.environ, "HF_ENDPOINT": "http://127.0.0.1:1", "HF_HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], cwd=ARCHIVE_DIR.parent, env=away)
    assert done.returncode == 0


def shapes(architecture: str) -> dict[str, torch.Tensor]:
    import open_clip

    with torch.device("meta"):
        return dict(open_clip.create_model(architecture, device="meta").state_dict())


def test_shapes_tell_an_architecture() -> None:
    assert list(candidates(shapes("ViT-S-32"))) == ["ViT-S-32"]
    assert list(candidates(shapes("ViT-B-32-256"))) == ["ViT-B-32-256"]


def test_shapes_cannot_tell_activations() -> None:
    assert list(candidates(shapes("ViT-B-32"))) == ["ViT-B-32", "ViT-B-32-quickgelu"]


def test_candidates_are_listed_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from scripts.archive.forms import bare_file, guess

    torch.save({"a": torch.ones(1)}, tmp_path / "w.pt")
    with pytest.raises(
        BadModel, match=r"w.pt has the shapes of none of open_clip's architectures: say which with --arch"
    ):
        read_path(tmp_path / "w.pt")
    monkeypatch.setattr(guess, "candidates", lambda _: iter(["ViT-B-32", "ViT-B-32-quickgelu"]))
    with pytest.raises(BadModel, match=r"may be ViT-B-32 or ViT-B-32-quickgelu, which shapes can't tell apart"):
        read_path(tmp_path / "w.pt")
    monkeypatch.setattr(bare_file, "guess", lambda *_: "ViT-S-32")
    parts = read_path(tmp_path / "w.pt")
    assert parts.notes == ("architecture ViT-S-32, by the shapes of the weights (--architecture names another)",)


def build_tiny(path: Path, store: Path, **given: Any) -> None:
    build(str(path), model_store=store, precision="fp32", compile=False, **given)


def test_weights_of_another_architecture_are_one_line(tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path / "hub") / "open_clip_model.safetensors"
    other = {**VIT, "embed_dim": 48, "vision_cfg": {**VIT["vision_cfg"], "layers": 3}}
    architecture = str(write_architecture(tmp_path / "other.json", other))
    with pytest.raises(BadModel) as caught:
        build_tiny(path, tmp_path / "store", architecture=architecture)
    said = caught.value.message
    assert "of another architecture" in said
    assert "12 weights are missing, such as visual.transformer.resblocks.2" in said
    assert "2 have other shapes, such as text_projection with (32, 32) instead of (32, 48)" in said
    assert "\n" not in said


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "is an empty folder"),
        ({"README.md": "hello"}, "no weights: it is no model"),
        ({"epoch_1.pt": "", "epoch_2.pt": ""}, "give one of its files, such as .*epoch_2.pt"),
        ({"open_clip_config.json": "{"}, "can't be read"),
        ({"open_clip_config.json": "{}"}, "is no configuration of open_clip"),
        ({"open_clip_config.json": json.dumps({"model_cfg": VIT})}, "a configuration and no weights"),
        (
            {"open_clip_config.json": json.dumps({"model_cfg": VIT}), "a.pt": "", "b.pt": ""},
            r"several files of weights \(a.pt, b.pt\)",
        ),
        ({"config.json": '{"model_type": "bert"}', "model.safetensors": ""}, "holds a bert of transformers"),
        ({"config.json": "[]"}, "is no configuration of transformers"),
        ({"adapter_config.json": "{}", "adapter_model.safetensors": ""}, "holds a LoRA adapter and no whole model"),
    ],
)
def test_folders_that_hold_no_model(tmp_path: Path, files: dict[str, str], message: str) -> None:
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    with pytest.raises(BadModel, match=message) as caught:
        read_path(tmp_path)
    assert "\n" not in caught.value.message


def test_a_transform_that_open_clip_lacks_is_refused(tmp_path: Path) -> None:
    write_clip(tmp_path)
    body = {"size": {"shortest_edge": 40}, "crop_size": {"height": 32, "width": 32}}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(body))
    with pytest.raises(BadModel, match="open_clip has no such transform"):
        read_path(tmp_path)
