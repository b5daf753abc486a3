"""GELU in other places than its own pass: the same numbers within what is promised."""

from __future__ import annotations

import open_clip
import pytest
import torch
from torch import nn
from torch.nn import functional

from clip_core.inputs.preprocessing import Preprocessing
from clip_core.networks.gelu import FastGelu, GeluLinear
from clip_core.networks.precision import fuse_gelu
from clip_core.networks.transformer import LastTransformerBlock, TransformerBlock
from clip_core.towers.towers import build_modules
from tests.checkpoints import VIT

SIZES = {key: VIT[key] for key in ("embed_dim", "vision_cfg", "text_cfg")}


def test_fast_gelu_is_gelu() -> None:
    x = torch.cat([torch.linspace(-12, 12, 100_001), torch.tensor([0.0, -0.0, 1e30, -1e30])])
    assert float((FastGelu()(x) - functional.gelu(x)).abs().max()) < 2e-6
    assert bool(FastGelu()(torch.tensor(float("nan"))).isnan())


@pytest.mark.parametrize("shape", [(3, 16), (2, 5, 16)])
def test_gelu_in_a_product(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    linear, x = nn.Linear(16, 24), 3 * torch.randn(shape)
    expected = functional.gelu(linear(x))
    assert torch.allclose(GeluLinear(linear)(x), expected, atol=1e-3)
    assert expected.abs().max() > 1


@torch.inference_mode()
@pytest.mark.parametrize("quick", [False, True])
def test_blocks_with_the_exact_gelu_are_fused_and_no_others(quick: bool) -> None:
    torch.manual_seed(0)
    model = open_clip.CLIP(**{**SIZES, "quick_gelu": quick}).eval().requires_grad_(False)
    pixels = torch.randint(0, 256, (4, 3, 32, 32), dtype=torch.uint8)
    tower = build_modules(model, "image", Preprocessing.of_model(model))["image"]
    expected = tower(pixels)
    fuse_gelu(tower)
    blocks = [child for child in tower.modules() if isinstance(child, TransformerBlock | LastTransformerBlock)]
    assert {isinstance(block.fc, GeluLinear) for block in blocks} == {not quick}
    assert float(functional.cosine_similarity(tower(pixels), expected).min()) > 0.99999
