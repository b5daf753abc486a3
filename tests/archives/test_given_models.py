"""The models that need a network are built from checkpoints of random weights in the hub's layout, made smaller."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import open_clip
import pytest

from clip_core.inputs.tokens import Tokenizer
from scripts.archive.build import build
from scripts.archive.model_source import ModelSource
from scripts.archive.places import ARCHIVE_DIR
from scripts.archive.verify import verify
from tests.archives.forms import WORDS
from tests.checkpoints import write_checkpoint, write_word_tokenizer

SMALL = {"layers": 2, "width": 64}


def shrunken(name: str) -> dict[str, Any]:
    """The architecture of archive/<name> with every flag kept and every size cut."""
    config = copy.deepcopy(open_clip.get_model_config(ModelSource.read(ARCHIVE_DIR / name).architecture))
    config["embed_dim"] = 64
    config["text_cfg"] |= SMALL | {"heads": 2}
    if "hf_tokenizer_name" in config["text_cfg"]:
        config["text_cfg"]["vocab_size"] = WORDS
    if "timm_model_name" in config["vision_cfg"]:
        config["vision_cfg"] |= {"timm_model_name": "test_vit", "image_size": 64}
    else:
        config["vision_cfg"] |= SMALL | {"head_width": 32}
    return config


@pytest.mark.parametrize(
    "name",
    [
        "vit-b-32",
        "siglip-b-16",
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("vit-b-16", "vit-l-14", "vit-h-14")),
    ],
)
def test_a_given_model_builds_from_a_local_checkpoint(tmp_path: Path, name: str) -> None:
    checkpoint = write_checkpoint(tmp_path / "checkpoint", shrunken(name))
    if name.startswith("siglip"):
        write_word_tokenizer(checkpoint)
    store = tmp_path / "store"
    archives = build(name, checkpoint=checkpoint, model_store=store, prefix=name, precision="fp32", compile=False)
    assert [path.name for path in archives] == [f"{name}_{kind}.mar" for kind in ("text", "image", "multimodal")]
    seen = verify(archives[2])
    assert (seen.name, seen.dim) == (name, 64)
    assert min(seen.cosines) > 0.9999


def test_a_hugging_face_tokenizer_is_packed_and_counts_its_tokens(tmp_path: Path) -> None:
    checkpoint = write_word_tokenizer(write_checkpoint(tmp_path / "checkpoint", shrunken("siglip-b-16")))
    tokenizer = Tokenizer.load(checkpoint)
    assert tokenizer("a red circle").count == 4  # three words and the end
    long = tokenizer("circle " * 500)
    assert (long.count, long.truncated) == (64, True)


@pytest.mark.slow
def test_vit_b_32_in_full_size(tmp_path: Path) -> None:
    checkpoint = write_checkpoint(tmp_path / "checkpoint", open_clip.get_model_config("ViT-B-32"))
    archives = build("vit-b-32", checkpoint=checkpoint, model_store=tmp_path / "store", precision="fp32", compile=False)
    for mar in archives:
        seen = verify(mar)
        assert seen.dim == 512
        assert min(seen.cosines) > 0.9999
