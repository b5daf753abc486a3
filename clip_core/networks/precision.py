"""The numeric variants of a tower. Inputs and outputs of the tower as a whole stay what they are in float32.

| precision | what it is |
| --- | --- |
| fp32 | as trained |
| bf16, fp16 | weights and activations cast (never CPU autocast, which was seen to be slow); fp16 on a GPU only |
| int8 | 8-bit products, a scale for each token found as it comes; the rest in float32, attention in bfloat16 |
| int8-static | the same with one scale a layer from calibration |
| fp8 | 8-bit float products on a GPU that has them (torchao) |
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from clip_core.errors import BadModel
from clip_core.model_spec import PRECISIONS
from clip_core.networks import int8
from clip_core.networks.gelu import FastGelu, GeluLinear
from clip_core.networks.transformer import LastTransformerBlock, TransformerBlock
from clip_core.networks.vit import VisionTower

_CASTS = {"bf16": torch.bfloat16, "fp16": torch.float16}
_AMPERE = (8, 0)  # the first whose tensor cores have bfloat16


def unavailable(precision: str, device: str = "cpu") -> str | None:
    """Why `precision` can't run on `device` here; None when it can."""
    on_gpu = device.startswith("cuda")
    if precision not in PRECISIONS:
        return f"precision is one of {', '.join(PRECISIONS)}, not {precision!r}"
    if precision.startswith("int8"):
        return "int8 is for CPUs here" if on_gpu else int8.unsupported()
    if on_gpu and not torch.cuda.is_available():
        return "torch sees no CUDA here"
    if precision == "fp16" and not on_gpu:
        return "fp16 is for GPUs: CPUs compute it slower than float32"
    if precision == "fp8" and not (on_gpu and torch.cuda.get_device_capability(device) >= (8, 9)):
        return "fp8 needs a GPU of compute capability 8.9 or later"
    return None


def apply(
    module: nn.Module, precision: str, scales: Mapping[str, float] | None = None, device: str = "cpu"
) -> nn.Module:
    """Bring `module` to `precision` in place; `scales` by layer are for int8-static. Raises BadModel."""
    reason = unavailable(precision, device)
    if reason is not None:
        raise BadModel(reason)
    if precision == "int8-static" and scales is None:
        raise BadModel("int8-static needs the scales of a calibration")
    module.to(device)
    if precision in _CASTS:
        module.to(_CASTS[precision])
    elif precision == "fp8":
        _to_fp8(module)
    elif precision.startswith("int8"):
        _to_int8(module, scales if precision == "int8-static" else None)
    if device.startswith("cuda") and precision != "fp32" and torch.cuda.get_device_capability(device) >= _AMPERE:
        pack_attention(module)
    if device.startswith("cuda") and precision in _CASTS:
        fuse_gelu(module)
    return module


def fuse_gelu(module: nn.Module) -> None:
    """In blocks with the exact GELU: inside the product before it, in place."""
    for child in list(module.modules()):
        if (
            isinstance(child, TransformerBlock | LastTransformerBlock)
            and _is_exact(child.act)
            and child.fc.bias is not None
        ):
            child.fc, child.act = GeluLinear(child.fc), nn.Identity()


def pack_attention(module: nn.Module) -> None:
    """In blocks whose heads it takes: attention by our own kernel, in place."""
    from clip_core.networks.short_attention import (  # needs Triton, which comes with CUDA's torch
        HEAD_DIMS,
        short_attention,
    )

    for child in module.modules():
        if isinstance(child, TransformerBlock) and child.out.in_features // child.heads in HEAD_DIMS:
            child.packed = short_attention


def _is_exact(act: nn.Module) -> bool:
    return isinstance(act, nn.GELU) and act.approximate == "none"


def _to_int8(module: nn.Module, scales: Mapping[str, float] | None) -> None:
    int8.quantize(module, scales)
    for name, child in list(module.named_modules()):
        if isinstance(child, TransformerBlock | LastTransformerBlock):
            child.attention = torch.bfloat16
        elif _is_exact(child):
            parent, _, last = name.rpartition(".")
            setattr(module.get_submodule(parent), last, FastGelu())
    if isinstance(module, VisionTower):
        module.patches.to(torch.bfloat16)


def _to_fp8(module: nn.Module) -> None:
    """bfloat16 with 8-bit float products in the blocks; the patch embedding is left alone."""
    from torchao.quantization import Float8DynamicActivationFloat8WeightConfig, PerRow, quantize_

    module.to(torch.bfloat16)
    inside = {id(layer) for _, layer in int8.quantizable(module)}
    quantize_(module, Float8DynamicActivationFloat8WeightConfig(granularity=PerRow()), lambda m, _: id(m) in inside)
