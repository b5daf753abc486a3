"""Archives are built whole or not at all, hold all they need, and load in a clean process."""

from __future__ import annotations

import json
import math
import zipfile
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from safetensors.numpy import load_file, save_file

from clip_core.errors import BadModel
from clip_core.model_spec import ModelSpec
from scripts.archive.build import build, standing
from scripts.archive.mar_files import built_with
from scripts.archive.model_source import ModelSource
from scripts.archive.pack import shorter_dimensions
from scripts.archive.places import ARCHIVE_DIR, endpoint_config, models
from scripts.archive.verify import verify
from tests.checkpoints import VIT, write_checkpoint

GIVEN = {"demo", "vit-b-32", "vit-b-16", "vit-l-14", "vit-h-14", "siglip-b-16", "coca-vit-b-32", "coca-vit-l-14"}


def test_the_given_models_are_there() -> None:
    assert set(models()) >= GIVEN


@pytest.mark.parametrize("name", sorted(GIVEN - {"demo"}))
def test_pretrained_tags_are_open_clips_own(name: str) -> None:
    import open_clip

    source = ModelSource.read(ARCHIVE_DIR / name)
    assert (source.architecture, source.pretrained) in open_clip.list_pretrained()


def test_an_archive_is_self_contained(archives: list[Path]) -> None:
    for mar in archives:
        names = set(zipfile.ZipFile(mar).namelist())
        kind = mar.stem.removeprefix("clip_")
        expected = {
            f"{kind}_handler.py",
            "clip_core/serving/batch_handler.py",
            "open_clip_model.safetensors",
            "canaries.json",
        }
        assert expected <= names, mar.name
        manifest = json.loads(zipfile.ZipFile(mar).read("MAR-INF/MANIFEST.json"))
        assert manifest["model"]["modelName"] == mar.stem


def test_each_archive_holds_the_weights_of_its_towers_only(model_dirs: dict[str, Path]) -> None:
    keys = {kind: set(load_file(directory / "open_clip_model.safetensors")) for kind, directory in model_dirs.items()}
    assert not [key for key in keys["text"] if key.startswith("visual.")]
    assert [key for key in keys["image"] if not key.startswith("visual.")] == ["logit_scale"]
    assert keys["text"] | keys["image"] == keys["multimodal"]


def test_each_archive_tells_the_models_head(model_dirs: dict[str, Path]) -> None:
    for directory in model_dirs.values():
        spec, weights = ModelSpec.read(directory), load_file(directory / "open_clip_model.safetensors")
        assert spec.logit_scale == pytest.approx(math.exp(weights["logit_scale"]))
        assert spec.logit_bias is None
        before = {name: value for name, value in asdict(spec).items() if not name.startswith("logit_")}
        assert ModelSpec.parse(before) == replace(spec, logit_scale=None), "an archive from before has none"


@pytest.mark.parametrize("position", [0, 1, 2])
def test_verify_loads_the_archives_own_code(archives: list[Path], position: int) -> None:
    seen = verify(archives[position])
    assert min(seen.cosines) > 0.99999
    assert seen.towers.keys() == ({"text"}, {"image"}, {"text", "image"})[position]


def test_another_precision_needs_other_archives(archives: list[Path], checkpoint: Path) -> None:
    found = [standing("demo", checkpoint, archives[0].parent, precision=each) for each in (None, "fp32", "bf16")]
    assert found == ["whole", "whole", "quick"]


def test_a_second_build_changes_nothing_and_a_changed_checkpoint_does(tmp_path: Path) -> None:
    checkpoint = write_checkpoint(tmp_path / "checkpoint")
    first = build("demo", checkpoint=checkpoint, model_store=tmp_path / "store")
    stamps = [path.stat().st_mtime_ns for path in first]
    fingerprint = verify(first[0]).fingerprint
    build("demo", checkpoint=checkpoint, model_store=tmp_path / "store")
    assert [path.stat().st_mtime_ns for path in first] == stamps
    write_checkpoint(checkpoint, seed=1)
    build("demo", checkpoint=checkpoint, model_store=tmp_path / "store")
    assert verify(first[0]).fingerprint != fingerprint


def test_half_an_archive_is_built_again(tmp_path: Path, checkpoint: Path) -> None:
    mar = build("demo", checkpoint=checkpoint, model_store=tmp_path)[0]
    whole = mar.read_bytes()
    mar.write_bytes(whole[: len(whole) // 2])
    assert built_with(mar) is None
    build("demo", checkpoint=checkpoint, model_store=tmp_path)
    assert built_with(mar) is not None
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_one_flipped_bit_is_noticed(tmp_path: Path, checkpoint: Path) -> None:
    mar = build("demo", checkpoint=checkpoint, model_store=tmp_path)[0]
    data = bytearray(mar.read_bytes())
    data[len(data) // 2] ^= 1
    mar.write_bytes(data)
    assert built_with(mar) is None


def test_changed_weights_fail_the_canaries(model_dirs: dict[str, Path], tmp_path: Path) -> None:
    import shutil

    broken = tmp_path / "broken"
    shutil.copytree(model_dirs["text"], broken)
    weights = load_file(broken / "open_clip_model.safetensors")
    weights["ln_final.weight"] = -weights["ln_final.weight"] * [1 if i % 2 else -2 for i in range(32)]
    save_file({key: value.astype("float32") for key, value in weights.items()}, broken / "open_clip_model.safetensors")
    mar = tmp_path / "broken.mar"
    with zipfile.ZipFile(mar, "w") as archive:
        for path in broken.rglob("*"):
            archive.write(path, path.relative_to(broken))
    with pytest.raises(BadModel, match="cosine"):
        verify(mar)


def test_what_is_no_archive(tmp_path: Path) -> None:
    path = tmp_path / "clip_text.mar"
    path.write_bytes(b"PK\x03\x04 and then nothing")
    with pytest.raises(BadModel, match="archive build"):
        verify(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: x", "give `checkpoint`"),
        ("- x", "an object"),
        ("name: x\nsize: 3", "no keys but"),
        ("name: x\ncheckpoint: .\nprecision: int3", "precision is one of"),
        ("name: [", "can't be read"),
    ],
)
def test_a_bad_model_yaml_says_what_is_wrong(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "model.yaml").write_text(text)
    with pytest.raises(BadModel, match=message):
        ModelSource.read(tmp_path)


def test_bf16_passes_its_floor(tmp_path: Path, checkpoint: Path) -> None:
    directory = tmp_path / "model"
    directory.mkdir()
    spec = {"name": "half", "checkpoint": str(checkpoint), "precision": "bf16", "compile": False, "cosine_floor": 0.999}
    (directory / "model.yaml").write_text(json.dumps(spec))
    archives = build(str(directory), model_store=tmp_path / "store")
    for mar in archives:
        seen = verify(mar)
        assert seen.precision == "bf16"
        assert 0.999 < min(seen.cosines) < 1.0


def test_endpoint_settings_can_be_overridden_key_by_key(tmp_path: Path) -> None:
    (tmp_path / "text.yaml").write_text("batchSize: 3\n")
    config = endpoint_config("text", tmp_path)
    assert config["batchSize"] == 3
    assert config["maxBatchDelay"] == endpoint_config("text", ARCHIVE_DIR / "demo")["maxBatchDelay"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("caption_method: sample", 'caption_method is one of beam, greedy, not "sample"'),
        ("caption_max_sequences: 0", "caption_max_sequences is a whole number of at least 1, not 0"),
        ("caption_methode: greedy", "caption_methode is no key; did you mean caption_method?"),
        ("batchsize: 8", "batchsize is no key; did you mean batchSize?"),
        ("- greedy", "keys and their values"),
        ("caption_method: [", "can't be read"),
    ],
)
def test_an_endpoint_that_would_not_start_is_refused(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "caption.yaml").write_text(text)
    with pytest.raises(BadModel) as refused:
        endpoint_config("caption", tmp_path)
    assert str(tmp_path / "caption.yaml") in refused.value.message
    assert said in refused.value.message


def test_keys_of_torchserve_pass(tmp_path: Path) -> None:
    (tmp_path / "caption.yaml").write_text("deviceIds: [0]\ncaption_method: greedy\n")
    assert endpoint_config("caption", tmp_path)["deviceIds"] == [0]
    assert endpoint_config("caption", ARCHIVE_DIR / "demo")["caption_method"] == "greedy"


def test_a_future_spec_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model_spec.json").write_text('{"name": "x", "colour": "red"}')
    with pytest.raises(BadModel, match=r"fields are"):
        ModelSpec.read(tmp_path)


FAMILIES = {
    "avg-pool": {**VIT, "vision_cfg": {**VIT["vision_cfg"], "pool_type": "avg"}},
    "quickgelu": {**VIT, "quick_gelu": True},
    "resnet": {**VIT, "vision_cfg": {"image_size": 32, "layers": [1, 1, 1, 1], "width": 8, "head_width": 16}},
    "coca": {
        **VIT,
        "custom_text": True,
        "text_cfg": {**VIT["text_cfg"], "context_length": 76, "embed_cls": True, "output_tokens": True},
        "vision_cfg": {**VIT["vision_cfg"], "attentional_pool": True, "attn_pooler_heads": 2, "output_tokens": True},
        "multimodal_cfg": {"context_length": 76, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1},
    },
}


@pytest.mark.parametrize("family", FAMILIES)
def test_other_families_build_and_verify(tmp_path: Path, family: str) -> None:
    checkpoint = write_checkpoint(tmp_path / "checkpoint", FAMILIES[family])
    store = tmp_path / "store"
    for mar in build("vit-b-32", checkpoint=checkpoint, model_store=store, precision="fp32", compile=False)[2:]:
        seen = verify(mar)
        assert seen.name == "vit-b-32"
        assert min(seen.cosines) > 0.9999


@pytest.mark.parametrize("wrong", [0, 96, 200, "8", True])
def test_shorter_dimensions_are_parts_of_the_whole(wrong: object) -> None:
    assert shorter_dimensions(ModelSource("m", matryoshka_dimensions=(64, 32)), 96) == (64, 32)
    with pytest.raises(BadModel, match="matryoshka_dimensions"):
        shorter_dimensions(ModelSource("m", matryoshka_dimensions=(wrong,)), 96)


def test_shorter_dimensions_survive_the_archive(tmp_path: Path) -> None:
    spec = ModelSpec("m", "text", 96, 77, "f", matryoshka_dimensions=(64, 32))
    spec.write(tmp_path)
    assert ModelSpec.read(tmp_path) == spec
