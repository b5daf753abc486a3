"""The bars of the encoder benchmark, each against what the same run measured."""

from __future__ import annotations

from typing import Any

from benchmarks.encoders.rounds import main_batch

GFLOP_PER_IMAGE = {"ViT-B-32": 8.82, "ViT-B-16": 35.1, "ViT-L-14": 162.0, "ViT-H-14": 335.0}
PEERS = (
    "onnxruntime int8 per tensor",
    "onnxruntime int8 per channel",
    "openvino f32",
    "openvino bf16",
    "openvino int8",
)
LEAST = 0.999  # a peer counts when its vectors are as good
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
    share = _quotient(int8, ceiling.get("int8", 0.0) / GFLOP_PER_IMAGE[model]) if model in GFLOP_PER_IMAGE else None
    bars = [
        _bar(
            f"image int8, batch {batch} ÷ best of ONNX Runtime int8 and OpenVINO",
            _quotient(int8, _best_peer(table, batch)),
            *(1.15, int8, LEAST),
        ),
        _bar("image int8, share of the int8 GEMM ceiling", share, 0.6),
        _bar(f"image bf16, batch {batch} ÷ open_clip fp32 eager", _ratio(bf16), 2.2, bf16, 0.9998),
        _bar(f"short texts, batch {batch} ÷ open_clip eager at 77", _ratio(short), 10, short, LEAST),
        _bar("one short text, time ÷ open_clip eager", 1 / alone["ratio"] if alone else None, 1 / 6, sign="≤"),
    ]
    return bars + [
        _bar(name, serving.get(name), bar, sign=sign) for name, (bar, sign) in SERVING.items() if serving is not None
    ]


def judge_gpu(rows: list[Row], model: str, card: str) -> list[Row]:
    """ViT-B/32's only, at its best batch; `value` None on another card than the one that they were asked for."""
    if model != "ViT-B-32":
        return []
    ours = [row for row in rows if row["what"] == "image" and row["engine"].split(",")[0] == "ours bf16"]
    good = [row for row in ours if row["cosine"] >= 0.9998] or ours
    best = max(good, key=lambda row: row["items_per_s"], default=None) if GPU in card else None
    value = best["items_per_s"] if best else None
    return [
        _bar(f"image bf16, images/s on one {GPU}, tower only{which}", value, bar, best, 0.9998)
        for which, bar in GPU_BARS.items()
    ]


def _best_peer(table: dict[tuple[str, str, int], Row], batch: int) -> float:
    """Pictures a second; 0 when no peer was measured at `batch` with vectors as good."""
    rows = (row for key, row in table.items() if key[0] == "image" and key[1] in PEERS and key[2] == batch)
    return max((row["items_per_s"] for row in rows if row["cosine"] >= LEAST), default=0.0)


def _ratio(row: Row | None) -> float | None:
    return row["ratio"] if row else None


def _quotient(row: Row | None, rate: float) -> float | None:
    return row["items_per_s"] / rate if row and rate else None


def _bar(
    name: str, value: float | None, bar: float, row: Row | None = None, cosine: float = 0.0, *, sign: str = "≥"
) -> Row:
    holds = value is not None and (value <= bar if sign == "≤" else value >= bar)
    made: Row = {"name": name, "value": value and round(value, 4), "bar": round(bar, 4), "sign": sign}
    if row is not None:
        made["cosine"] = round(row["cosine"], 6)
        holds = holds and row["cosine"] >= cosine
    return {**made, "holds": holds}
