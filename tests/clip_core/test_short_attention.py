"""Attention on a GPU: the kernel's arithmetic by Triton's interpreter, and what calls it, on a CPU."""

from __future__ import annotations

import os
import subprocess
import sys

import open_clip
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from clip_core.inputs.preprocessing import Preprocessing
from clip_core.networks import precision
from clip_core.networks.transformer import SHORT, TransformerBlock, attend_one
from clip_core.towers.towers import build_modules
from tests.checkpoints import VIT

SIZES = {key: VIT[key] for key in ("embed_dim", "vision_cfg", "text_cfg")}
Calls = list[tuple[int, bool]]  # the lengths that were attended to, and whether causally
SHAPES = [(2, 50, 3, 64, 0), (1, 1, 1, 16, 1), (2, 77, 2, 64, 1), (3, 16, 2, 32, 1), (1, 128, 1, 128, 0)]
INTERPRETED = """
import torch
from clip_core.networks.short_attention import short_attention
from tests.clip_core.test_short_attention import SHAPES, by_the_library

torch.manual_seed(0)
for batch, length, heads, dim, causal in SHAPES:
    for dtype, most in ((torch.float32, 2e-6), (torch.float16, 4e-3)):
        packed = torch.randn(batch, length, 3 * heads * dim).to(dtype)
        found = short_attention(packed, heads, bool(causal)).float()
        assert (found - by_the_library(packed.float(), heads, bool(causal))).abs().max() < most
print("all the same")
"""


def by_the_library(packed: Tensor, heads: int, causal: bool) -> Tensor:
    """What `short_attention` computes."""
    batch, length, _ = packed.shape
    q, k, v = (each.view(batch, length, heads, -1).transpose(1, 2) for each in packed.chunk(3, dim=-1))
    return functional.scaled_dot_product_attention(q, k, v, is_causal=causal).transpose(1, 2).flatten(2)


def test_the_kernel_attends() -> None:
    pytest.importorskip("triton")
    environment = {**os.environ, "TRITON_INTERPRET": "1"}
    done = subprocess.run([sys.executable, "-c", INTERPRETED], env=environment, capture_output=True, text=True)
    assert done.stdout.strip() == "all the same", done.stderr[-2000:]


def test_one_query_attends() -> None:
    torch.manual_seed(0)
    q, k, v = torch.randn(3, 2, 1, 16), torch.randn(3, 2, 9, 16), torch.randn(3, 2, 9, 16)
    seen = (torch.arange(9) <= torch.tensor([0, 4, 8])[:, None])[:, None, None]
    expected = functional.scaled_dot_product_attention(q, k, v, attn_mask=seen)
    assert torch.allclose(attend_one(q, k, v, seen), expected, atol=1e-6)
    halves = attend_one(q.bfloat16(), k.bfloat16(), v.bfloat16(), seen)
    assert halves.dtype == torch.bfloat16
    assert torch.allclose(halves.float(), expected, atol=0.02)


def _model(**vision: int) -> nn.Module:
    torch.manual_seed(0)
    model: nn.Module = open_clip.CLIP(**{**SIZES, "vision_cfg": {**SIZES["vision_cfg"], **vision}})
    return model.eval().requires_grad_(False)


@pytest.fixture
def packed(monkeypatch: pytest.MonkeyPatch) -> Calls:
    """Of what stands in for the kernel."""
    kernel = pytest.importorskip("clip_core.networks.short_attention")
    called: Calls = []

    def stand_in(packed: Tensor, heads: int, causal: bool) -> Tensor:
        called.append((packed.shape[1], causal))
        return by_the_library(packed, heads, causal)

    monkeypatch.setattr(kernel, "short_attention", stand_in)
    return called


@torch.inference_mode()
def test_blocks_call_it_where_tokens_are_few(packed: Calls) -> None:
    model = _model()
    towers = build_modules(model, "multimodal", Preprocessing.of_model(model))
    pixels = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    texts = open_clip.tokenize(["a cat", "a dog by the sea"])[:, : SIZES["text_cfg"]["context_length"]]
    texts[:, -1] = texts.max()
    for part, items in (("image", pixels), ("text", texts)):
        tower = towers[part]
        expected = tower(items)
        precision.pack_attention(tower)
        blocks = sum(isinstance(child, TransformerBlock) for child in tower.modules())
        assert blocks > 0
        assert torch.allclose(tower(items), expected, atol=1e-5)
        assert packed == [(packed[0][0], part == "text")] * blocks
        packed.clear()


@torch.inference_mode()
def test_many_tokens_and_odd_heads_stay_the_librarys(packed: Calls) -> None:
    many = _model(image_size=192, patch_size=16)  # 145 tokens
    odd = _model(width=96, head_width=48)
    for model, size in ((many, 192), (odd, 32)):
        tower = build_modules(model, "image", Preprocessing.of_model(model))["image"]
        precision.pack_attention(tower)
        tower(torch.zeros(1, 3, size, size, dtype=torch.uint8))
    assert SHORT < 145
    assert packed == []


@pytest.mark.gpu
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("length", [1, 16, 50, 77, 128])
def test_on_a_gpu(length: int, causal: bool) -> None:
    from clip_core.networks.short_attention import short_attention

    rows = torch.randn(3, length, 3 * 2 * 64, device="cuda", dtype=torch.bfloat16)
    assert (short_attention(rows, 2, causal).float() - by_the_library(rows.float(), 2, causal)).abs().max() < 0.03
