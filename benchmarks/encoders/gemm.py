"""The ceiling: what this machine's matrix products reach in each type, at the shape of an MLP layer."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from clip_core.networks import int8

ROWS, INNER, COLUMNS = 800, 768, 3072  # 16 pictures of ViT-B/32


def ceilings(rounds: int = 20) -> dict[str, float]:
    """GFLOP/s by type, the best of `rounds`: a ceiling is what is possible."""
    x, w = torch.randn(ROWS, INNER), torch.randn(COLUMNS, INNER)
    half_x, half_w = x.bfloat16(), w.bfloat16()
    products: dict[str, Callable[[], Tensor]] = {
        "fp32": lambda: functional.linear(x, w),
        "bf16": lambda: functional.linear(half_x, half_w),
    }
    if int8.unsupported() is None:
        layer = int8.Int8Linear(nn.Linear(INNER, COLUMNS))
        levels = torch.randint(0, 256, (ROWS, INNER), dtype=torch.uint8)
        products["int8"] = lambda: layer._product(levels)
    return {name: _gflops(product, rounds) for name, product in products.items()}


@torch.inference_mode()
def _gflops(product: Callable[[], Tensor], rounds: int) -> float:
    seconds = []
    for _ in range(rounds):
        started = time.perf_counter()
        product()
        seconds.append(time.perf_counter() - started)
    return 2 * ROWS * INNER * COLUMNS / min(seconds) / 1e9
