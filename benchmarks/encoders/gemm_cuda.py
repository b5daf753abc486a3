"""The ceiling of an NVIDIA GPU: what its matrix products reach in each type, on large square matrices."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import Tensor

from clip_core.networks.precision import unavailable

SIZE = 8192
Product = Callable[[], Tensor]


def ceilings(
    seconds: Callable[[Product], float], device: str = "cuda", size: int = SIZE, rounds: int = 3
) -> dict[str, float]:
    """GFLOP/s by type, the best of `rounds`; a type whose product this GPU or torch has not is left out."""
    found = {}
    for name, product in _products(device, size).items():
        with contextlib.suppress(RuntimeError):
            found[name] = 2 * size**3 / min(seconds(product) for _ in range(rounds)) / 1e9
    return found


def _products(device: str, size: int) -> dict[str, Product]:
    x, y = torch.randn(2, size, size, device=device)
    made: dict[str, Product] = {"fp32": partial(torch.matmul, x, y), "tf32": partial(_in_tf32, x, y)}
    for name, kind in (("bf16", torch.bfloat16), ("fp16", torch.float16)):
        made[name] = partial(torch.matmul, x.to(kind), y.to(kind))
    if unavailable("fp8", device) is None:
        made["fp8"] = _fp8(x, y)
    return made


def _in_tf32(x: Tensor, y: Tensor) -> Tensor:
    with _tf32():
        return x @ y


@contextlib.contextmanager
def _tf32() -> Iterator[None]:
    before = torch.backends.cuda.matmul.fp32_precision
    torch.backends.cuda.matmul.fp32_precision = "tf32"
    try:
        yield
    finally:
        torch.backends.cuda.matmul.fp32_precision = before


def _fp8(x: Tensor, y: Tensor) -> Product:
    """One scale for all of a matrix; cuBLAS wants the second one by columns."""
    one = torch.ones((), device=x.device)
    left, right = x.to(torch.float8_e4m3fn), y.t().contiguous().to(torch.float8_e4m3fn).t()
    return partial(
        torch._scaled_mm, left, right, scale_a=one, scale_b=one, out_dtype=torch.bfloat16, use_fast_accum=True
    )
