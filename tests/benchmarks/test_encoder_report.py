"""The bars and the tables of the encoder benchmark say what was measured, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.encoders import tables
from benchmarks.encoders.bars import SERVING, judge, judge_gpu
from benchmarks.encoders.command import save
from benchmarks.encoders.cpu import Cpu
from benchmarks.encoders.plans import BASE, GPU
from benchmarks.encoders.quality import measure_quality
from benchmarks.encoders.rounds import Deadline, cosines, main_batch, measure, rows

CEILING = {"fp32": 200.0, "bf16": 400.0, "int8": 882.0}


def row(what: str, engine: str, batch: int, rate: float, cosine: float = 0.9999, ratio: float = 3.0) -> dict[str, Any]:
    return {"what": what, "engine": engine, "batch": batch, "items_per_s": rate, "ratio": ratio, "cosine": cosine}


def table(batch: int) -> list[dict[str, Any]]:
    return [
        row("image", "open_clip fp32", batch, 20.0, 1.0, 1.0),
        row("image", "onnxruntime int8 per tensor", batch, 50.0),
        row("image", "openvino int8", batch, 70.0, 0.98),  # faster, with vectors that do not count
        row("image", "ours int8", batch, 60.0, 0.9995),
        row("image", "ours bf16", batch, 44.0, 0.99985, 2.2),
        row("short text", "ours int8", batch, 500.0, 0.9995, 16.0),
        row("short text", "ours int8", 1, 90.0, 0.9995, 10.0),
    ]


def bars(rows: list[dict[str, Any]], model: str = "ViT-B-32", serving: Any = None) -> dict[str, dict[str, Any]]:
    return {bar["name"]: bar for bar in judge(rows, CEILING, serving, model)}


@pytest.mark.parametrize("batch", [16, 32])
def test_bars_stand_at_the_batch_that_was_measured_and_name_it(batch: int) -> None:
    found = bars(table(batch))
    against = found[f"image int8, batch {batch} ÷ best of ONNX Runtime int8 and OpenVINO"]
    assert (against["value"], against["holds"]) == (1.2, True)
    assert found[f"image bf16, batch {batch} ÷ open_clip fp32 eager"]["holds"]
    assert found["image int8, share of the int8 GEMM ceiling"]["value"] == 0.6
    assert found["one short text, time ÷ open_clip eager"]["value"] == 0.1


def test_a_fast_tower_of_poor_vectors_holds_no_bar() -> None:
    poor = [{**each, "cosine": 0.99} if each["engine"] == "ours int8" else each for each in table(16)]
    assert not bars(poor)["image int8, batch 16 ÷ best of ONNX Runtime int8 and OpenVINO"]["holds"]


def test_what_was_not_measured_has_no_value_and_holds_nothing() -> None:
    found = bars([each for each in table(16) if "ours" not in each["engine"]], "another model", {})
    assert {(bar["value"], bar["holds"]) for bar in found.values()} == {(None, False)}
    assert set(SERVING) < set(found)
    assert not set(SERVING) & set(bars(table(16)))


def test_serving_bars_have_their_own_direction() -> None:
    found = bars(table(16), serving=dict.fromkeys(SERVING, 0.5))
    assert [found[name]["holds"] for name in SERVING] == [False, False, True, False]


def test_every_engine_runs_in_every_round_and_is_compared_with_open_clip() -> None:
    ran: list[str] = []

    def engine(name: str, features: torch.Tensor) -> Callable[[], torch.Tensor]:
        def forward() -> torch.Tensor:
            ran.append(name)
            return features

        return forward

    made = {
        ("image", "open_clip fp32", 2): engine("theirs", torch.eye(2)),
        ("image", "ours bf16", 2): engine("ours", torch.tensor([[1.0, 1.0], [0.0, 1.0]])),
    }
    close = cosines(made)
    seconds, ceiling = measure(made, Cpu(), 1, Deadline(), lambda _: None)
    assert close["image", "open_clip fp32", 2] == 1.0
    assert close["image", "ours bf16", 2] == pytest.approx(0.5**0.5)
    assert ran == ["theirs", "ours"] * 2
    assert {len(laps) for laps in seconds.values()} == {1}
    assert min(ceiling.values()) > 0


def test_rates_and_ratios_are_medians_over_the_rounds() -> None:
    seconds = {("image", "open_clip fp32", 8): [2.0, 4.0, 2.0], ("image", "ours bf16", 8): [1.0, 1.0, 4.0]}
    made = rows(seconds, dict.fromkeys(seconds, 1.0))
    assert (made[1]["items_per_s"], made[1]["ratio"]) == (8.0, 2.0)


def test_engines_are_compared_at_16_or_at_the_largest_batch() -> None:
    assert [main_batch(batches) for batches in ({1, 8, 16, 32}, {1, 8, 32}, {1})] == [16, 32, 1]


def test_the_page_shows_every_model_a_missed_bar_and_quality() -> None:
    quality = [{"engine": "ours int8", "recall_at_1": 0.5, "recall_at_10": 1, "image_cosine": 1, "text_cosine": 1}]
    missed = {"name": "one text", "value": 9.0, "bar": 1.0, "sign": "≤", "holds": False}
    bars = [*judge(table(32), CEILING, None, "ViT-L-14"), missed]
    machine = {"cpu": "Intel(R) Xeon(R) Processor", "cores": 2}
    large = {"model": "ViT-L-14", "machine": machine, "rows": table(32), "serving": {}, "bars": bars}
    section = tables.section([*tables.reports()[:1], {**large, "quality": quality}])
    heads = ("ViT-B-32 on ", "ViT-L-14 on Intel Xeon, 2 cores, batch 32")
    for part in (*heads, "≥ 1.15", "9 (missed)", "0.500"):
        assert part in section
    with pytest.raises(ValueError, match="marks"):
        tables.updated("no marks", [])


def gpu_report(card: str) -> dict[str, Any]:
    rows = [
        row("image", "open_clip fp32", 1, 900.0, 1.0, 1.0),
        row("image", "open_clip fp32", 512, 5_000.0, 1.0, 1.0),
        row("image", "ours bf16", 512, 42_000.0, 0.99985),
        row("image", "ours bf16, eager", 512, 30_000.0, 0.99985),
        row("image", "ours bf16, graphs", 1, 2_000.0, 0.99984),
        row("image", "ours fp8", 512, 70_000.0, 0.998),
        row("short text", "ours bf16", 512, 99_000.0, 0.99985),
    ]
    bars = judge_gpu(rows, "ViT-B-32", card)
    return {
        "model": "ViT-B-32",
        "gpu": {"name": card},
        "gemm_gflops": {"fp32": 50_000.0, "bf16": 740_880.0},
        "rows": rows,
        "bars": bars,
    }


def test_a_gpus_bars_are_judged_on_the_card_that_they_were_asked_for() -> None:
    bar, stretch = gpu_report("NVIDIA H200")["bars"]
    assert (bar["value"], bar["bar"], bar["cosine"], bar["holds"]) == (42_000, 40_000, 0.99985, True)
    assert (stretch["bar"], stretch["holds"]) == (60_000, False)
    for bar in gpu_report("NVIDIA H100 80GB HBM3")["bars"]:
        assert (bar["value"], bar["holds"]) == (None, False)
    assert judge_gpu(gpu_report("NVIDIA H200")["rows"], "ViT-L-14", "NVIDIA H200") == []


def test_poor_vectors_hold_no_gpu_bar() -> None:
    poor = [row("image", "ours bf16", 512, 90_000.0, 0.99), row("image", "ours bf16, eager", 512, 41_000.0, 0.9999)]
    assert [bar["holds"] for bar in judge_gpu(poor, "ViT-B-32", "NVIDIA H200")] == [True, False]
    assert not judge_gpu(poor[:1], "ViT-B-32", "NVIDIA H200")[0]["holds"]


def test_the_readme_gets_a_gpus_table_only_once_there_are_results(tmp_path: Path) -> None:
    assert tables.gpu_reports(tmp_path) == []
    save(GPU, gpu_report("NVIDIA H200"), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["encoders-cuda.json"]
    found = tables.reports()
    section = tables.section(found, tables.gpu_reports(tmp_path))
    assert section.startswith(tables.section(found).rstrip("\n"))
    for part in (
        "| ViT-B-32 on one NVIDIA H200, images /s | batch 1 | batch 512 | share of GEMM ceiling |",
        "| ours bf16 |  | 42000 | 0.50 | 0.99985 |",
        "| ours bf16, graphs | 2000 |  | 0.02 | 0.99984 |",
        "| ours fp8 |  | 70000 |  | 0.99800 |",  # no ceiling was measured in its type
        "| ViT-B-32: image bf16, images/s on one H200, tower only, stretch | 42,000 (missed) | ≥ 60,000 |",
    ):
        assert part in section


def test_a_cpus_results_keep_their_name(tmp_path: Path) -> None:
    save(BASE, {"model": "ViT-B-32"}, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["encoders.json"]


@pytest.mark.slow
def test_no_precision_costs_the_demo_model_its_recall() -> None:
    reference, *ours = measure_quality()
    for each in ours:
        assert each["recall_at_1"] > reference["recall_at_1"] - 0.02
        assert min(each["image_cosine"], each["text_cosine"]) > 0.999
