"""The bars of the encoder benchmark, each against what the same run measured."""

from __future__ import annotations

from typing import Any

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


def judge(
    rows: list[dict[str, Any]], ceiling: dict[str, float], serving: dict[str, float], model: str
) -> list[dict[str, Any]]:
    """`value` None: not measured in this run."""
    table = {(row["what"], row["engine"], row["batch"]): row for row in rows}
    int8, bf16 = _row(table, "image", "ours int8", 16), _row(table, "image", "ours bf16", 16)
    short, alone = _row(table, "short text", "ours int8", 16), _row(table, "short text", "ours int8", 1)
    peers = [row for key, row in table.items() if key[1] in PEERS and key[2] == 16 and row["cosine"] >= LEAST]
    best = max((row["items_per_s"] for row in peers), default=float("inf"))
    flops, rate = GFLOP_PER_IMAGE.get(model, 0.0), ceiling.get("int8", float("inf"))
    bars = [
        _bar(
            "image int8, batch 16 ÷ best of ONNX Runtime int8 and OpenVINO",
            int8["items_per_s"] / best,
            1.15,
            int8,
            LEAST,
        ),
        _bar("image int8, share of the int8 GEMM ceiling", int8["items_per_s"] * flops / rate, 0.6),
        _bar("image bf16, batch 16 ÷ open_clip fp32 eager", bf16["ratio"], 2.2, bf16, 0.9998),
        _bar("short texts, batch 16 ÷ open_clip eager at 77", short["ratio"], 10, short, LEAST),
        _bar("one short text, time ÷ open_clip eager", 1 / alone["ratio"] if alone["ratio"] else None, 1 / 6, sign="≤"),
    ]
    return bars + [_bar(name, serving.get(name), bar, sign=sign) for name, (bar, sign) in SERVING.items()]


def _row(table: dict[tuple[str, str, int], dict[str, Any]], *key: Any) -> dict[str, Any]:
    """The row of (what, engine, batch); one of zeros where this machine can't compute it."""
    return table.get(key, {"items_per_s": 0.0, "ratio": 0.0, "cosine": 0.0})


def _bar(
    name: str, value: float | None, bar: float, row: dict[str, Any] | None = None, cosine: float = 0.0, sign: str = "≥"
) -> dict[str, Any]:
    measured = value or None
    holds = measured is not None and (measured <= bar if sign == "≤" else measured >= bar)
    made: dict[str, Any] = {"name": name, "value": measured and round(measured, 4), "bar": round(bar, 4)}
    if row is not None:
        made["cosine"] = round(row["cosine"], 6)
        holds = holds and row["cosine"] >= cosine
    return {**made, "holds": holds}
