"""Linear layers in 8 bits: int8 weights with a scale for each row, uint8 activations with a scale for each token.

Each token finds its own scale as it comes, so its vector does not depend on its neighbours and needs no calibration;
with a fixed `scale` (static quantization) all tokens share the one that calibration found. Products run in oneDNN's
u8·s8 kernels (VNNI, AMX), which torch has on x86 only. Everything else stays float: the residual stream, the norms,
the patch embedding and the final projection.

Source: Dettmers et al. 2022, LLM.int8() (scales by token and row, symmetric); Xiao et al. 2023, SmoothQuant (static).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

ZERO = 128  # of the uint8 activations: symmetric about it
LEVELS = 127
_IN_A_BLOCK = re.compile(r"\.(\d+|last)\.")


def unsupported() -> str | None:
    """Why 8-bit products can't run here; None when they can."""
    if not hasattr(torch.ops.onednn, "qlinear_prepack") or "onednn" not in torch.backends.quantized.supported_engines:
        return "torch has no oneDNN here"
    return None if torch.cpu._is_vnni_supported() else "the CPU has no 8-bit dot products (VNNI)"


class Int8Linear(nn.Module):
    """(…, in) → (…, out) in the type of its input.

    `scale`: one step of the activations, None to find each token's. `product`: what sums are rounded to before scales.
    With `fine` each activation is two of 8 bits, its level and what rounding left of it: rows twice, weights read once.
    """

    weight: Tensor
    row_scales: Tensor
    bias: Tensor | None

    def __init__(self, linear: nn.Linear, scale: float | None = None, product: torch.dtype = torch.bfloat16) -> None:
        super().__init__()
        self.product, self.fine = product, False
        weight = linear.weight.detach().float()
        scales = weight.abs().amax(dim=1).clamp(min=1e-12) / LEVELS
        levels = (weight / scales[:, None]).round().to(torch.int8)
        self.register_buffer("weight", levels)
        self.register_buffer("row_scales", scales)
        self.register_buffer("row_zeros", torch.zeros(len(scales), dtype=torch.int64))
        self.register_buffer("bias", None if linear.bias is None else linear.bias.detach().float())
        self.scale = scale
        self.int8_original_dtype = linear.weight.dtype  # where open_clip looks for the type to embed tokens in
        self._packed: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        rows = x.reshape(-1, x.shape[-1]).float()
        scale = self.scale if self.scale is not None else _token_scales(rows)
        y = self._fine_product(rows / scale) if self.fine else self._product(_levels(rows / scale)).float()
        y = y * scale
        if self.bias is not None:
            y = y + self.bias
        return y.reshape(*x.shape[:-1], y.shape[-1]).to(x.dtype)

    def _fine_product(self, rows: Tensor) -> Tensor:
        """(N, in), in steps of the activations → (N, out)"""
        coarse = rows.round()
        rest = (rows - coarse) * (2 * LEVELS)
        first, second = self._product(_levels(torch.cat([coarse, rest]))).float().chunk(2)
        return first + second * (1 / (2 * LEVELS))

    def _product(self, levels: Tensor) -> Tensor:
        """(N, in) uint8 → (N, out): the sums in int32, times the rows' scales; bfloat16 is half of the traffic."""
        product: Tensor = torch.ops.onednn.qlinear_pointwise(
            *(levels, 1.0, ZERO, self._pack(), self.row_scales, self.row_zeros, None),
            *(1.0, 0, self.product, "none", [], ""),
        )
        return product

    def _pack(self) -> Tensor:
        """The weights in oneDNN's layout: a constant that compilation folds, kept by us when nothing compiles."""
        if torch.compiler.is_compiling():
            packed: Tensor = torch.ops.onednn.qlinear_prepack(self.weight, None)
            return packed
        if self._packed is None:
            self._packed = torch.ops.onednn.qlinear_prepack(self.weight, None)
        return self._packed


def _levels(rows: Tensor) -> Tensor:
    return (rows.round() + ZERO).clamp(0, 255).to(torch.uint8)


def _token_scales(rows: Tensor) -> Tensor:
    """(N, in) → (N, 1)"""
    return rows.abs().amax(dim=-1, keepdim=True).clamp(min=1e-12) * (1 / LEVELS)


class ShortlistHead(nn.Module):
    """(…, W) → (…, V) float32: scores of a vocabulary in 8 bits, and the best of them again in float32.

    A choice is among the best, and theirs is where rounding would change it.
    """

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.coarse = Int8Linear(linear, product=torch.float32)
        self.weight = linear.weight
        self.count = min(32, linear.out_features)

    def forward(self, x: Tensor) -> Tensor:
        coarse: Tensor = self.coarse(x)
        best = coarse.topk(self.count, dim=-1).indices
        return coarse.scatter(-1, best, (self.weight[best] @ x[..., None])[..., 0])


def quantizable(module: nn.Module) -> Iterator[tuple[str, nn.Linear]]:
    """The linear layers inside blocks (numbered, or our last); embeddings, heads and projections stand outside."""
    for name, layer in module.named_modules():
        if type(layer) is nn.Linear and _IN_A_BLOCK.search(f".{name}."):
            yield name, layer


def quantize(module: nn.Module, scales: Mapping[str, float] | None = None) -> None:
    """Swap every quantizable layer in place; `scales` by layer name make it static.

    A layer that calibration never met has no scale and stays: it belongs to a part of the model that does not run.
    """
    _call_every_layer(module)
    for name, layer in list(quantizable(module)):
        if scales is not None and name not in scales:
            continue
        parent, _, child = name.rpartition(".")
        setattr(module.get_submodule(parent), child, Int8Linear(layer, None if scales is None else scales[name]))


def _call_every_layer(module: nn.Module) -> None:
    """timm's EVA and BEiT take the weights out of their qkv layer unless told to call it and add the bias after."""
    owners: Iterator[Any] = module.modules()
    for owner in owners:
        if hasattr(owner, "qkv_bias_separate"):
            owner.qkv_bias_separate = True


class Calibration:
    """Remembers the largest activation before each quantizable layer while a `with` block runs the module."""

    def __init__(self, module: nn.Module) -> None:
        self.largest: dict[str, float] = {}
        _call_every_layer(module)
        self._layers = list(quantizable(module))

    def __enter__(self) -> Calibration:
        self._hooks = [layer.register_forward_pre_hook(self._watch(name)) for name, layer in self._layers]
        return self

    def __exit__(self, *_: object) -> None:
        for hook in self._hooks:
            hook.remove()

    @property
    def scales(self) -> dict[str, float]:
        return {name: largest / LEVELS for name, largest in self.largest.items()}

    def _watch(self, name: str) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        def hook(_: nn.Module, given: tuple[Tensor, ...]) -> None:
            self.largest[name] = max(self.largest.get(name, 1e-12), float(given[0].abs().max()))

        return hook
