"""A plain CLIP that is built without open_clip has its weights in the same places, and gives the same vectors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from safetensors.torch import load_file, save_file

from clip_core.errors import BadModel
from clip_core.networks.modules import image_module, text_module
from clip_core.networks.open_clip_model import load_model
from clip_core.networks.plain_clip import PlainClip, build
from tests.checkpoints import VIT, write_checkpoint

PLAIN: dict[str, dict[str, Any]] = {
    "as the demo": VIT,
    "of other shapes": {
        "embed_dim": 24,
        "vision_cfg": {"image_size": [48, 32], "layers": 3, "width": 96, "patch_size": 16, "head_width": 24},
        "text_cfg": {"context_length": 16, "width": 48, "heads": 4, "layers": 1, "mlp_ratio": 2.0},
    },
}
MORE = [
    {**VIT, "quick_gelu": True},
    {**VIT, "vision_cfg": {**VIT["vision_cfg"], "layers": [1, 1, 1, 1]}},
    {**VIT, "vision_cfg": {**VIT["vision_cfg"], "ls_init_value": 0.1}},
    {**VIT, "text_cfg": {**VIT["text_cfg"], "pool_type": "eos"}},
    {**VIT, "multimodal_cfg": {}},
]


@pytest.mark.parametrize("name", PLAIN)
@torch.inference_mode()
def test_it_computes_what_open_clip_computes(name: str, tmp_path: Path) -> None:
    directory = write_checkpoint(tmp_path, PLAIN[name])
    reference = open_clip.create_model(f"local-dir:{directory}").eval()
    ours = load_model(directory, "multimodal")
    assert isinstance(ours, PlainClip)
    assert set(ours.state_dict()) == set(reference.state_dict())
    pixels = torch.randint(0, 256, (3, 3, *reference.visual.image_size), dtype=torch.uint8)
    seen = image_module(ours, (0.5,) * 3, (0.5,) * 3)(pixels)
    torch.testing.assert_close(seen, reference.encode_image(pixels.float() / 127.5 - 1), atol=1e-5, rtol=1e-4)
    ids = torch.randint(1, 49000, (4, reference.context_length))
    ids[torch.arange(4), torch.tensor([2, 5, 9, 15])] = 49407
    torch.testing.assert_close(text_module(ours)(ids), reference.encode_text(ids), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("kind", ["text", "image"])
def test_a_single_tower_needs_its_own_weights_only(kind: str, tmp_path: Path) -> None:
    directory = write_checkpoint(tmp_path)
    file = directory / "open_clip_model.safetensors"
    state = load_file(file)
    scale = state.pop("logit_scale")
    own = {key: value for key, value in state.items() if key.startswith("visual.") == (kind == "image")}
    save_file(own, file)
    with pytest.raises(BadModel, match="logit_scale"):
        load_model(directory, kind)
    save_file({**own, "logit_scale": scale}, file)
    model = load_model(directory, kind)
    module = text_module(model) if kind == "text" else image_module(model, (0.5,) * 3, (0.5,) * 3)
    assert not any(value.is_meta for value in module.state_dict().values())


@pytest.mark.parametrize("config", MORE, ids=str)
def test_anything_more_is_open_clips(config: dict[str, Any]) -> None:
    assert build(config) is None


def test_weights_of_another_shape_are_named(tmp_path: Path) -> None:
    directory = write_checkpoint(tmp_path)
    file = directory / "open_clip_model.safetensors"
    save_file({**load_file(file), "text_projection": torch.zeros(3, 3)}, file)
    with pytest.raises(BadModel, match="text_projection"):
        load_model(directory, "multimodal")
