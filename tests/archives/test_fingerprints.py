"""Equal models have equal fingerprints however their files are written, and fingerprints of before stay."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from open_clip.pretrained import get_pretrained_cfg, list_pretrained
from open_clip.transform import PreprocessCfg, merge_preprocess_dict

from clip_core.model_spec import canonical
from scripts.archive.assembly.canonical import canonical_config
from scripts.archive.forms.architecture import architectures, read_config
from scripts.archive.mar_files import read_spec
from scripts.archive.model_source import load
from scripts.archive.resolver import resolve
from tests.checkpoints import VIT, write_checkpoint

DEMO = "2ba82297e95dc33a"


def round_trip(value: Any) -> Any:
    return json.loads(json.dumps(value))


@pytest.mark.parametrize("name", sorted(architectures()))
def test_open_clips_own_files_are_canonical(name: str) -> None:
    model, _ = read_config(architectures()[name])
    whole = {"model_cfg": model, "preprocess_cfg": round_trip(vars(PreprocessCfg(size=(224, 224))))}
    assert canonical(canonical_config(whole)) == canonical(whole)


def test_the_preprocessing_of_every_tag_is_canonical() -> None:
    for architecture, tag in list_pretrained():
        known = get_pretrained_cfg(architecture, tag)
        for size in (224, (224, 336)):
            preprocess = merge_preprocess_dict(PreprocessCfg(), {**known, "size": size})
            whole = {"model_cfg": {}, "preprocess_cfg": round_trip(preprocess)}
            assert canonical(canonical_config(whole)) == canonical(whole), (architecture, tag)


@pytest.mark.parametrize(
    ("model", "preprocess"),
    [
        ({**VIT, "quick_gelu": False}, {}),
        ({**VIT, "custom_text": False}, {}),
        ({**VIT, "embed_dim": 32.0}, {}),
        ({**VIT, "vision_cfg": {**VIT["vision_cfg"], "image_size": [32, 32], "patch_size": [8, 8]}}, {}),
        ({**VIT, "vision_cfg": dict(reversed(VIT["vision_cfg"].items()))}, {}),
        (VIT, {"mean": 0.5, "std": 0.5}),
        (VIT, {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5], "fill_color": 0, "mode": "RGB"}),
    ],
)
def test_equal_models_written_otherwise(model: dict[str, Any], preprocess: dict[str, Any], tmp_path: Path) -> None:
    values = {"mean": [0.5] * 3, "std": [0.5] * 3} if preprocess else {}
    plain = write_checkpoint(tmp_path / "plain", VIT, **values)
    other = write_checkpoint(tmp_path / "other", VIT, **values)
    (other / "open_clip_config.json").write_text(json.dumps({"model_cfg": model, "preprocess_cfg": preprocess}))
    assert fingerprint(other) == fingerprint(plain)


def test_zeros_and_ones_as_integers(tmp_path: Path) -> None:
    found = [
        fingerprint(write_checkpoint(tmp_path / name, VIT, mean=[zero] * 3, std=[one] * 3))
        for name, zero, one in (("int", 0, 1), ("float", 0.0, 1.0))
    ]
    assert found[0] == found[1]


@pytest.mark.parametrize("other", [{"mean": [0.5, 0.5, 0.4]}, {"resize_mode": "squash"}, {"interpolation": "bilinear"}])
def test_other_preprocessing_is_another_fingerprint(other: dict[str, Any], tmp_path: Path) -> None:
    plain, changed = write_checkpoint(tmp_path / "a"), write_checkpoint(tmp_path / "b", VIT, **other)
    assert fingerprint(plain) != fingerprint(changed)


def test_the_demos_fingerprint_stays() -> None:
    assert load(resolve("demo").source).fingerprint == DEMO


def test_an_archives_fingerprint_is_that_of_its_source(archives: list[Path], checkpoint: Path) -> None:
    found = {spec.fingerprint for mar in archives if (spec := read_spec(mar))}
    assert found == {fingerprint(checkpoint)}


def fingerprint(checkpoint: Path) -> str:
    return load(resolve("demo", checkpoint).source).fingerprint
