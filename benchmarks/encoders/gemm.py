"""The ceiling: what matrix products reach in each type, on this CPU at the shape of an MLP layer, or on a GPU."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional

from clip_core.networks import int8
from clip_core.networks.precision import unavailable

ROWS, INNER, COLUMNS, ROUNDS = 800, 768, 3072, 20  # 16 pictures of ViT-B/32
GPU_SIZE, GPU_ROUNDS = 8192, 3  # large square matrices
Product = Callable[[], Tensor]


@torch.inference_mode()
def ceilings() -> dict[str, float]:
    """GFLOP/s by type, the best of the rounds: a ceiling is what is possible."""
    x, w = torch.randn(ROWS, INNER), torch.randn(COLUMNS, INNER)
    products: dict[str, Product] = {
        "fp32": partial(functional.linear, x, w),
        "bf16": partial(functional.linear, x.bfloat16(), w.bfloat16()),
    }
    if int8.unsupported() is None:
        layer = int8.Int8Linear(nn.Linear(INNER, COLUMNS))
        products["int8"] = partial(layer._product, torch.randint(0, 256, (ROWS, INNER), dtype=torch.uint8))
    work = 2 * ROWS * INNER * COLUMNS / 1e9
    return {name: work / min(_seconds(product) for _ in range(ROUNDS)) for name, product in products.items()}


def _seconds(product: Product) -> float:
    started = time.perf_counter()
    product()
    return time.perf_counter() - started


def gpu_ceilings(
    seconds: Callable[[Product], float], device: str = "cuda", size: int = GPU_SIZE, rounds: int = GPU_ROUNDS
) -> dict[str, float]:
    """GFLOP/s by type, the best of `rounds`; a type whose product this GPU or torch has not is left out."""
    found = {}
    for name, product in _gpu_products(device, size).items():
        with contextlib.suppress(RuntimeError):
            found[name] = 2 * size**3 / min(seconds(product) for _ in range(rounds)) / 1e9
    return found


def _gpu_products(device: str, size: int) -> dict[str, Product]:
    x, y = torch.randn(2, size, size, device=device)
    made: dict[str, Product] = {"fp32": partial(torch.matmul, x, y), "tf32": partial(_in_tf32, x, y)}
    for name, kind in (("bf16", torch.bfloat16), ("fp16", torch.float16)):
        made[name] = partial(torch.matmul, x.to(kind), y.to(kind))
    if unavailable("fp8", device) is None:
        made["fp8"] = _fp8(x, y)
    return made


def _in_tf32(x: Tensor, y: Tensor) -> Tensor:
    before = torch.backends.cuda.matmul.fp32_precision
    torch.backends.cuda.matmul.fp32_precision = "tf32"
    try:
        return x @ y
    finally:
        torch.backends.cuda.matmul.fp32_precision = before


def _fp8(x: Tensor, y: Tensor) -> Product:
    """One scale for all of a matrix; cuBLAS wants the second one by columns."""
    one = torch.ones((), device=x.device)
    left, right = x.to(torch.float8_e4m3fn), y.t().contiguous().to(torch.float8_e4m3fn).t()
    kind = torch.bfloat16
    return partial(torch._scaled_mm, left, right, scale_a=one, scale_b=one, out_dtype=kind, use_fast_accum=True)
