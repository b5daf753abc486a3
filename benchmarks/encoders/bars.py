"""The bars of the encoder benchmark, each against what the same run measured."""

from __future__ import annotations

from typing import Any

from benchmarks.encoders.rounds import main_batch
from benchmarks.lib.reports import holds

GFLOP_PER_IMAGE = {"ViT-B-32": 8.82, "ViT-B-16": 35.1, "ViT-L-14": 162.0, "ViT-H-14": 335.0}
PEERS = (
    "onnxruntime int8 per tensor",
    "onnxruntime int8 per channel",
    "openvino f32",
    "openvino bf16",
    "openvino int8",
)
LEAST, LEAST_BF16 = 0.999, 0.9998  # a peer counts when its vectors are as good
SERVING = {
    "worker start to READY, shipped packages ÷ none": (0.35, "≤"),
    "images/s through TorchServe at 32 clients ÷ decode and tower in a loop": (0.85, "≥"),
    "resident memory of an int8 image worker ÷ fp32": (0.6, "≤"),
    "one text, computed ÷ cached, through TorchServe": (4.0, "≥"),
}
GPU, GPU_BARS = "H200", {"": 40_000.0, ", stretch": 60_000.0}
Row = dict[str, Any]


def judge(rows: list[Row], ceiling: dict[str, float], serving: dict[str, float] | None, model: str) -> list[Row]:
    """`value` None: not measured here, as a precision that the machine has not. `serving` None: not asked for."""
    table = {(row["what"], row["engine"], row["batch"]): row for row in rows}
    batch = main_batch({row["batch"] for row in rows})
    int8, bf16 = table.get(("image", "ours int8", batch)), table.get(("image", "ours bf16", batch))
    short, alone = table.get(("short text", "ours int8", batch)), table.get(("short text", "ours int8", 1))
    peers = [table[key] for name in PEERS if (key := ("image", name, batch)) in table]
    best = max((row["items_per_s"] for row in peers if row["cosine"] >= LEAST), default=0.0)
    most = ceiling.get("int8", 0.0) / GFLOP_PER_IMAGE[model] if model in GFLOP_PER_IMAGE else 0.0
    against = _quotient(int8, best)
    bars = [
        _bar(f"image int8, batch {batch} ÷ best of ONNX Runtime int8 and OpenVINO", against, 1.15, int8, LEAST),
        _bar("image int8, share of the int8 GEMM ceiling", _quotient(int8, most), 0.6),
        _bar(f"image bf16, batch {batch} ÷ open_clip fp32 eager", _ratio(bf16), 2.2, bf16, LEAST_BF16),
        _bar(f"short texts, batch {batch} ÷ open_clip eager at 77", _ratio(short), 10, short, LEAST),
        _bar("one short text, time ÷ open_clip eager", 1 / alone["ratio"] if alone else None, 1 / 6, sign="≤"),
    ]
    asked = {} if serving is None else SERVING
    return bars + [_bar(name, (serving or {}).get(name), bar, sign=sign) for name, (bar, sign) in asked.items()]


def judge_gpu(rows: list[Row], model: str, card: str) -> list[Row]:
    """ViT-B/32's only, at its best batch; `value` None on another card than the one that they were asked for."""
    if model != "ViT-B-32":
        return []
    ours = [row for row in rows if row["what"] == "image" and row["engine"].split(",")[0] == "ours bf16"]
    good = [row for row in ours if row["cosine"] >= LEAST_BF16] or ours
    best = max(good, key=lambda row: row["items_per_s"], default=None) if GPU in card else None
    name, value = f"image bf16, images/s on one {GPU}, tower only", best["items_per_s"] if best else None
    return [_bar(name + which, value, bar, best, LEAST_BF16) for which, bar in GPU_BARS.items()]


def _ratio(row: Row | None) -> float | None:
    return row["ratio"] if row else None


def _quotient(row: Row | None, rate: float) -> float | None:
    return row["items_per_s"] / rate if row and rate else None


def _bar(
    name: str, value: float | None, bar: float, row: Row | None = None, cosine: float = 0.0, *, sign: str = "≥"
) -> Row:
    held = holds(value, bar, sign)
    made: Row = {"name": name, "value": value and round(value, 4), "bar": round(bar, 4), "sign": sign}
    if row is not None:
        made["cosine"] = round(row["cosine"], 6)
        held = held and row["cosine"] >= cosine
    return {**made, "holds": held}
