"""8-bit layers are close to float ones, and a token's vector does not depend on its neighbours."""

from __future__ import annotations

import copy

import open_clip
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from clip_core.errors import BadModel
from clip_core.inputs.preprocessing import Preprocessing
from clip_core.networks import int8
from clip_core.networks.precision import apply, unavailable
from clip_core.towers.towers import build_modules
from tests.checkpoints import VIT


def layer(inner: int = 96, outer: int = 64, bias: bool = True) -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(inner, outer, bias=bias).requires_grad_(False)


def least_cosine(one: Tensor, other: Tensor) -> float:
    return float(functional.cosine_similarity(one.double(), other.double(), dim=-1).min())


@torch.inference_mode()
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("scale", [None, 4 / 127])
def test_a_layer_is_close_to_its_float_self(bias: bool, scale: float | None) -> None:
    float_layer, x = layer(bias=bias), torch.randn(3, 17, 96).clamp(-4, 4)
    y = int8.Int8Linear(float_layer, scale)(x)
    assert (y.shape, y.dtype) == ((3, 17, 64), torch.float32)
    assert least_cosine(y, float_layer(x)) > 0.9995


@torch.inference_mode()
@settings(max_examples=30, deadline=None)
@given(st.integers(1, 40), st.floats(-6, 6), st.integers(0, 1000))
def test_a_token_does_not_depend_on_its_neighbours(neighbours: int, magnitude: float, seed: int) -> None:
    x = torch.randn(1, 96, generator=torch.Generator().manual_seed(seed))
    others = torch.randn(neighbours, 96) * 10**magnitude
    quantized = int8.Int8Linear(layer())
    assert torch.equal(quantized(torch.cat([x, others]))[:1], quantized(x))


@torch.inference_mode()
def test_tokens_of_any_magnitude_keep_their_direction() -> None:
    x = torch.randn(9, 96) * (10.0 ** torch.arange(-4, 5))[:, None]
    float_layer = layer(bias=False)
    assert least_cosine(int8.Int8Linear(float_layer)(x), float_layer(x)) > 0.9995
    assert bool((int8.Int8Linear(float_layer)(torch.zeros(2, 96)) == 0).all())


@torch.inference_mode()
def test_fine_activations_leave_the_weights_error_alone() -> None:
    x, quantized = torch.randn(5, 96), int8.Int8Linear(layer(bias=False), product=torch.float32)
    exact = x @ (quantized.weight * quantized.row_scales[:, None]).T
    coarse = quantized(x)
    quantized.fine = True
    assert float((quantized(x) - exact).abs().max()) < float((coarse - exact).abs().max()) / 50


@torch.inference_mode()
def test_the_best_scores_of_a_shortlist_are_exact() -> None:
    linear, x = layer(outer=500, bias=False), torch.randn(2, 3, 96)
    exact, scores = linear(x), int8.ShortlistHead(linear)(x)
    assert torch.equal(scores.topk(8).indices, exact.topk(8).indices)
    assert torch.allclose(scores.topk(8).values, exact.topk(8).values, atol=1e-5)
    assert 0.001 < float((scores - exact).abs().max()) < 0.1


def modules() -> tuple[dict[str, nn.Module], Preprocessing]:
    torch.manual_seed(0)
    model = open_clip.CLIP(**{key: VIT[key] for key in ("embed_dim", "vision_cfg", "text_cfg")}).eval()
    preprocessing = Preprocessing.of_model(model)
    return build_modules(model.requires_grad_(False), "multimodal", preprocessing), preprocessing


@torch.inference_mode()
@pytest.mark.parametrize("precision", ["bf16", "int8", "int8-static"])
def test_a_tower_of_each_precision_is_close_to_float32(precision: str) -> None:
    built, preprocessing = modules()
    inputs = {
        "image": torch.randint(0, 256, (5, 3, *preprocessing.size), dtype=torch.uint8),
        "text": open_clip.get_tokenizer("ViT-B-32")(["a red circle", "two blue stars", "word " * 90]),
    }
    for part, module in built.items():
        expected = module(inputs[part])
        with int8.Calibration(module) as calibration:
            module(inputs[part])
        changed = apply(copy.deepcopy(module), precision, calibration.scales)
        assert least_cosine(changed(inputs[part]).float(), expected) > 0.999, part
        assert not torch.equal(changed(inputs[part]).float(), expected), "nothing was changed"


def test_what_is_quantized_stands_in_a_block() -> None:
    built, _ = modules()
    names = {part: [name for name, _ in int8.quantizable(module)] for part, module in built.items()}
    assert "blocks.0.qkv" in names["image"]
    assert "last.kv" in names["text"]
    assert "patches" not in names["image"]


@pytest.mark.parametrize(
    ("precision", "device", "message"),
    [
        ("int3", "cpu", "precision is one of"),
        ("fp16", "cpu", "for GPUs"),
        ("fp8", "cpu", "8.9"),
        ("int8", "cuda", "for CPUs"),
    ],
)
def test_what_a_device_has_not_is_said(precision: str, device: str, message: str) -> None:
    assert message in str(unavailable(precision, device))
    with pytest.raises(BadModel, match=message):
        apply(nn.Linear(2, 2), precision, device=device)


def test_static_scales_must_be_given() -> None:
    with pytest.raises(BadModel, match="calibration"):
        apply(nn.Linear(2, 2), "int8-static")
