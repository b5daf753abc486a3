"""A CoCa that is built without open_clip has its weights in the same places, and computes the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch

from clip_core.errors import BadModel
from clip_core.networks.coca_model import load_coca
from clip_core.networks.open_clip_model import build_coca, build_model
from clip_core.networks.plain_coca import PlainCoca, build
from clip_core.towers.compiling import _exportable
from tests.captioners import COCA, pictures, write_captioner

MORE = [
    {**COCA, "quick_gelu": True},
    {**COCA, "vision_cfg": {**COCA["vision_cfg"], "attentional_pool": "parallel"}},
    {**COCA, "vision_cfg": {**COCA["vision_cfg"], "ls_init_value": 0.1}},
    {**COCA, "text_cfg": {**COCA["text_cfg"], "embed_cls": False}},
    {**COCA, "multimodal_cfg": {**COCA["multimodal_cfg"], "mlp_ratio": 2}},
    {name: value for name, value in COCA.items() if name != "multimodal_cfg"},
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_captioner(tmp_path / "coca")


@torch.inference_mode()
def test_it_computes_what_open_clip_computes(folder: Path) -> None:
    reference, ours = build_model(folder), build_coca(folder)
    assert isinstance(ours, PlainCoca)
    assert set(ours.state_dict()) == set(reference.state_dict())
    half = (0.5, 0.5, 0.5)
    (image, decoder), (own_image, own_decoder) = (load_coca(each, folder, half, half) for each in (reference, ours))
    seen, own_seen = image(pictures(3)), own_image(pictures(3))
    torch.testing.assert_close(own_seen, seen, atol=0, rtol=0)
    ids = torch.randint(1, 500, (2, 9))
    texts = [part.logits(part.look(part.read(ids), part.remember(seen[:1]))) for part in (decoder, own_decoder)]
    torch.testing.assert_close(texts[1], texts[0], atol=0, rtol=0)
    assert not any(value.is_meta for value in [*own_image.state_dict().values(), *own_decoder.state_dict().values()])


def test_it_can_be_compiled_for_any_number_of_pictures(folder: Path) -> None:
    image, _ = load_coca(build_coca(folder), folder, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    several = {0: torch.export.Dim("pictures", min=1, max=64)}
    with _exportable(), torch.no_grad():
        program = torch.export.export(image, (pictures(3),), dynamic_shapes=(several,)).module()
    torch.testing.assert_close(program(pictures(5)), image(pictures(5)))


@pytest.mark.parametrize("name", ["coca_ViT-B-32", "coca_ViT-L-14"])
def test_the_published_ones_are_plain(name: str, tmp_path: Path) -> None:
    config = open_clip.get_model_config(name)
    made = build(config)
    assert made is not None
    (tmp_path / "open_clip_config.json").write_text(json.dumps({"model_cfg": config, "preprocess_cfg": {}}))
    shapes = {key: value.shape for key, value in build_model(tmp_path, "meta").state_dict().items()}
    assert {key: value.shape for key, value in made.state_dict().items()} == shapes


@pytest.mark.parametrize("config", MORE, ids=str)
def test_anything_more_is_open_clips(config: dict[str, Any]) -> None:
    assert build(config) is None


def test_weights_that_do_not_fit_are_named(folder: Path) -> None:
    path = folder / "open_clip_config.json"
    path.write_text(path.read_text().replace('"attn_pooler_queries": 17', '"attn_pooler_queries": 5'))
    half = (0.5, 0.5, 0.5)
    with pytest.raises(BadModel, match=r"attn_pool\.query"):
        load_coca(build_coca(folder), folder, half, half)
