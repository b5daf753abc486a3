"""The encoder benchmark's peers, fed the same float pixels: ONNX Runtime and OpenVINO on open_clip's own module.

Exports: open_clip's fused attention switched off, which ONNX has no operator for. Quantization: ONNX Runtime's dynamic
one of MatMul and Gemm, per tensor and per channel; OpenVINO's by NNCF with its transformer preset.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

Forward = Callable[[Tensor], Tensor]
CALIBRATION = 8


def peers(model: Any, example: Tensor, directory: Path, threads: int) -> dict[str, Forward]:
    """Name → float pixels (B, 3, H, W) to features (B, D)."""
    path = directory / "image.onnx"
    if not path.exists():
        export(model, example, path)
    made = {"onnxruntime fp32": onnx_runtime(path, threads)}
    for name, per_channel in (("tensor", False), ("channel", True)):
        made[f"onnxruntime int8 per {name}"] = onnx_runtime(quantized(path, per_channel), threads)
    return made | openvino(path, example, threads)


def export(model: Any, example: Tensor, path: Path) -> None:
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            named: dict[str, Any] = {"input_names": ["pixels"], "dynamic_axes": {"pixels": {0: "batch"}}}
            torch.onnx.export(model.visual, (example,), str(path), opset_version=17, dynamo=False, **named)
    finally:
        torch.backends.mha.set_fastpath_enabled(True)


def quantized(path: Path, per_channel: bool) -> Path:
    from onnxruntime.quantization import QuantType, quantize_dynamic

    target = path.with_name(f"image-int8-{'channel' if per_channel else 'tensor'}.onnx")
    if not target.exists():
        operators: dict[str, Any] = {"weight_type": QuantType.QInt8, "op_types_to_quantize": ["MatMul", "Gemm"]}
        quantize_dynamic(path, target, per_channel=per_channel, **operators)
    return target


def onnx_runtime(path: Path, threads: int) -> Forward:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads, options.log_severity_level = threads, 1, 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return lambda pixels: torch.from_numpy(session.run(None, {"pixels": pixels.numpy()})[0])


def openvino(path: Path, example: Tensor, threads: int) -> dict[str, Forward]:
    """f32, bf16 and int8 (NNCF, calibrated on noise as the models here are)."""
    import nncf
    import openvino as ov

    core = ov.Core()
    plain = core.read_model(path)
    generator = np.random.default_rng(0)
    samples = [generator.standard_normal((1, *example.shape[1:])).astype(np.float32) for _ in range(CALIBRATION)]
    kind: dict[str, Any] = {"model_type": nncf.ModelType.TRANSFORMER, "subset_size": CALIBRATION}
    small = nncf.quantize(core.read_model(path), nncf.Dataset(samples), **kind)

    def compiled(model: Any, precision: str) -> Forward:
        options = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY"}
        run = core.compile_model(model, "CPU", {**options, "INFERENCE_PRECISION_HINT": precision})
        return lambda pixels: torch.from_numpy(run(pixels.numpy())[0].copy())

    made = {name: compiled(plain, name) for name in ("f32", "bf16")}
    return {**{f"openvino {name}": run for name, run in made.items()}, "openvino int8": compiled(small, "f32")}
