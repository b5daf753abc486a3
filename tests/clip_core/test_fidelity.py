"""Our forward passes give open_clip's vectors: every family, every text length, odd pictures, any neighbours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch

from clip_core.inputs.preprocessing import Preprocessing
from clip_core.networks.causal_text import BUCKETS, bucket
from clip_core.networks.modules import image_module, text_module
from clip_core.towers.towers import TextTower, facts
from tests.checkpoints import write_checkpoint
from tests.families import (
    FAMILIES,
    THEIRS,
    difference,
    fresh,
    hugging_face_ids,
    pictures,
    texts,
    write_hugging_face,
)


@pytest.fixture(scope="module", params=FAMILIES)
def built(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Any, Path]:
    directory = write_checkpoint(tmp_path_factory.mktemp("family"), FAMILIES[request.param][0])
    return request.param, open_clip.create_model(f"local-dir:{directory}").eval(), directory


@torch.inference_mode()
def test_pictures(built: tuple[str, Any, Path]) -> None:
    name, reference, directory = built
    ours = Preprocessing.of_model(reference)
    pixels = torch.stack([ours.uint8(picture) for picture in pictures()])
    module = image_module(fresh(directory), ours.mean, ours.std).eval()
    assert type(module).__name__ == FAMILIES[name][1]
    assert difference(module(pixels), reference.encode_image(ours.normalize(pixels))) < 1e-5


@torch.inference_mode()
def test_texts(built: tuple[str, Any, Path]) -> None:
    name, reference, directory = built
    ids = open_clip.get_tokenizer("ViT-B-32", context_length=reference.context_length)(texts())
    module = text_module(fresh(directory)).eval()
    assert type(module).__name__ == FAMILIES[name][2]
    for rows in (ids, ids[:1], ids[:3]):
        assert difference(module(rows), reference.encode_text(rows)) < 1e-5


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any]:
    directory = write_checkpoint(tmp_path_factory.mktemp("plain"))
    return fresh(directory), text_module(fresh(directory)).eval()


@torch.inference_mode()
def test_every_length_from_1_to_77(plain: tuple[Any, Any]) -> None:
    reference, ours = plain
    generator = torch.Generator().manual_seed(0)
    for length in range(1, 78):
        ids = torch.zeros(2, 77, dtype=torch.long)
        ids[:, :length] = torch.randint(1, 49405, (2, length), generator=generator)
        ids[:, length - 1] = 49407
        assert difference(ours(ids), reference.encode_text(ids)) < 1e-5, length


@torch.inference_mode()
def test_a_text_does_not_depend_on_its_neighbours(plain: tuple[Any, Any]) -> None:
    ours = plain[1]
    ids = open_clip.get_tokenizer("ViT-B-32")(texts())
    together = ours(ids)
    for i in range(len(ids)):
        assert difference(ours(ids[i : i + 1]), together[i : i + 1]) < 1e-6


@torch.inference_mode()
def test_only_the_batchs_longest_text_is_paid_for(plain: tuple[Any, Any]) -> None:
    seen: list[int] = []
    tokenizer = open_clip.get_tokenizer("ViT-B-32")
    tower = TextTower(lambda ids: (seen.append(ids.shape[1]), plain[1](ids))[1], facts(plain[1]), compiled=False)
    for text in ("a dog", "word " * 20, "word " * 300):
        tower.forward(tokenizer([text, "a"]))
    assert seen == [8, 24, 77]


def test_buckets_hold_what_they_must() -> None:
    for longest in (32, 64, 77):
        for length in range(1, longest + 1):
            size = bucket(length, longest)
            assert length <= size <= longest
            assert size in BUCKETS or size == longest


@torch.inference_mode()
def test_a_hugging_face_text_tower(tmp_path: Path) -> None:
    """Built from a local config; it gets open_clip's own pass, which masks padding, so nothing is cut."""
    directory = write_hugging_face(tmp_path)
    reference, module = fresh(directory), text_module(fresh(directory)).eval()
    assert (type(module).__name__, facts(module).cuts) == (THEIRS[1], False)
    ids = hugging_face_ids()
    together = TextTower(module, facts(module), compiled=False).forward(ids)
    assert difference(together, reference.encode_text(ids)) < 1e-5
    assert difference(module(ids[1:2]), together[1:2]) < 1e-5
