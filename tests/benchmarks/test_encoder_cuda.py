"""The benchmark's GPU side on a CPU, with stand-ins for the clock and the graphs; the last test waits for a GPU."""

from __future__ import annotations

import json
import logging
import math
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from rich.console import Console
from torch import Tensor

from benchmarks.encoders import gemm, tables
from benchmarks.encoders.command import DEVICES, _report, main
from benchmarks.encoders.cuda import LEAST_S, MOST_PASSES, WARM_UPS, Cuda, CudaClock
from benchmarks.encoders.cuda_packages import compile_all
from benchmarks.encoders.cuda_towers import OurTower, compiled
from benchmarks.encoders.plans import GPU
from benchmarks.encoders.rounds import REFERENCE, Deadline, ModelJob
from benchmarks.encoders.towers import Subject
from clip_core.errors import BadModel
from clip_core.towers.compiling import Forward
from clip_core.towers.cuda_graphs import Capture, Graph

CARD = {"name": "a CPU"}


class Gpu:
    """Stands in for torch.cuda: a clock that passes set, and events on it, in the order that CUDA wants."""

    def __init__(self) -> None:
        self.now_ms, self.pending, self.log = 0.0, 0.0, list[str]()

    def launch(self, milliseconds: float) -> None:
        self.pending += milliseconds
        self.log.append("launch")

    def synchronize(self) -> None:
        self.now_ms, self.pending = self.now_ms + self.pending, 0.0
        self.log.append("synchronize")

    def Event(self, enable_timing: bool) -> Event:
        assert enable_timing
        return Event(self)


class Event:
    def __init__(self, gpu: Gpu) -> None:
        self.gpu, self.at, self.waited = gpu, 0.0, False

    def record(self) -> None:
        self.at = self.gpu.now_ms + self.gpu.pending
        self.gpu.log.append("record")

    def synchronize(self) -> None:
        self.gpu.synchronize()
        self.waited = True

    def elapsed_time(self, end: Event) -> float:
        assert end.waited
        return end.at - self.at


@pytest.mark.parametrize(
    ("milliseconds", "passes"), [(10.0, 5), (200.0, 1), (0.01, MOST_PASSES), (1000 * LEAST_S / 7.5, 8)]
)
def test_a_pass_is_timed_among_as_many_as_fill_the_time(milliseconds: float, passes: int) -> None:
    gpu = Gpu()
    gpu.launch(500.0)  # what was queued before counts for nobody
    gpu.log.clear()
    assert CudaClock(gpu)(lambda: gpu.launch(milliseconds)) == pytest.approx(milliseconds / 1000)
    run = ["synchronize", "record", *["launch"] * passes, "record", "synchronize"]
    assert gpu.log == ["synchronize", "record", *["launch"] * WARM_UPS, "record", "synchronize", *run]


def test_the_ceiling_has_every_type_that_the_device_has() -> None:
    seen: list[Tensor] = []

    def seconds(product: Callable[[], Tensor]) -> float:
        seen.append(product())
        return 0.5

    before = torch.backends.cuda.matmul.fp32_precision
    rates = gemm.gpu_ceilings(seconds, "cpu", size=32, rounds=1)
    assert rates == dict.fromkeys(("fp32", "tf32", "bf16", "fp16"), 2 * 32**3 / 0.5 / 1e9)
    assert [each.dtype for each in seen] == [torch.float32, torch.float32, torch.bfloat16, torch.float16]
    assert torch.backends.cuda.matmul.fp32_precision == before


def test_the_product_in_8_bit_floats_is_a_product() -> None:
    x, y = torch.randn(2, 64, 64)
    product = gemm._fp8(x, y)().float()
    assert torch.cosine_similarity(product.flatten(), (x @ y).flatten(), dim=0) > 0.99


def test_a_type_whose_product_fails_has_no_ceiling() -> None:
    def seconds(product: Callable[[], Tensor]) -> float:
        if product().dtype == torch.float16:
            raise RuntimeError("not on this GPU")
        return 1.0

    assert list(gemm.gpu_ceilings(seconds, "cpu", size=8, rounds=1)) == ["fp32", "tf32", "bf16"]


def replayed(run: Forward, batch: Tensor) -> Graph:
    """Stands in for a CUDA graph."""
    held = batch.clone()
    output = run(held)
    return Graph(held, output, lambda: output.copy_(run(held)))


def uncompiled(tower: OurTower, _path: Path, _device: str) -> Forward:
    return tower.module


def stand_in(compiled: Any = uncompiled, capture: Capture = replayed) -> Cuda:
    def clock(forward: Callable[[], Tensor]) -> float:
        return float(len(forward())) / 1000

    return Cuda("cpu", clock, lambda: capture, lambda *_: {}, compiled, lambda: CARD, gemm_size=16)


def report(device: Cuda, checkpoint: Path, directory: Path, **given: Any) -> dict[str, Any]:
    plan = replace(GPU, model=f"local-dir:{checkpoint}", batches=(1, 3, 70), rounds=2, **given)
    return _report(plan, device, directory, Console(quiet=True))


def names(found: dict[str, Any], what: str, batch: int) -> list[str]:
    return [row["engine"] for row in found["rows"] if (row["what"], row["batch"]) == (what, batch)]


def test_every_way_of_running_is_a_row_and_what_cannot_run_is_named(tmp_path: Path, checkpoint: Path) -> None:
    found = report(stand_in(), checkpoint, tmp_path)
    ours = [
        *("ours bf16, eager", "ours bf16"),
        *("ours fp32, eager", "ours fp32"),
    ]
    theirs = ["open_clip fp32", "open_clip bf16", "open_clip fp16"]
    for what in ("image", "short text"):
        assert names(found, what, 70) == [*theirs, *ours]  # more than a graph holds
        graphed = [engine for name in ours for engine in (name, f"{name}, graphs")]
        assert names(found, what, 1) == names(found, what, 3) == [*theirs, *graphed]
    for row in found["rows"]:
        assert row["cosine"] > 0.99, row
        assert row["items_per_s"] == pytest.approx(1000)
    assert set(found["left_out"]) == {f"{what}, ours {p}" for what in ("image", "short text") for p in ("fp8", "fp16")}
    assert "fp16 is for GPUs" in found["left_out"]["image, ours fp16"]
    assert "image, ours bf16" in found["compile_s"]
    assert (found["gpu"], found["rounds"], found["bars"], found["serving"]) == (CARD, 2, [], {})
    assert {"fp32", "tf32", "bf16"} <= set(found["gemm_gflops"])
    assert "on one a CPU, images /s | batch 1 | batch 3 | batch 70 |" in tables.section([], [found])


def test_a_run_ends_in_one_json_line_and_leaves_the_cpus_figures_alone(
    tmp_path: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    said = ("--model", f"local-dir:{checkpoint}", "--batches", "1", "--precisions", "bf16", "--no-variants")
    monkeypatch.setattr(sys, "argv", ["encoders", "--device", "cuda", *said, "--save", str(tmp_path)])
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setitem(DEVICES, "cuda", stand_in)
    monkeypatch.setattr(tables, "write", lambda: pytest.fail("the tables are the CPU's too"))
    try:
        main()
    finally:
        logging.disable(logging.NOTSET)
    (path,) = tmp_path.iterdir()
    assert path.name == f"encoders-cuda-{checkpoint.name.lower()}.json"
    assert json.loads(path.read_text()) == json.loads(capsys.readouterr().out.splitlines()[-1])


def test_without_variants_ours_is_what_serves(tmp_path: Path, checkpoint: Path) -> None:
    found = report(stand_in(), checkpoint, tmp_path, variants=False, precisions=("bf16",))
    assert names(found, "image", 1) == [REFERENCE, "open_clip bf16", "ours bf16", "ours bf16, graphs"]


def test_one_engines_failure_is_a_line_of_the_report(tmp_path: Path, checkpoint: Path) -> None:
    def never(*_: object) -> Forward:
        raise BadModel("no kernel for this GPU")

    def out_of_memory(_run: Forward, _batch: Tensor) -> Graph:
        raise torch.OutOfMemoryError("out of memory")

    found = report(stand_in(never, out_of_memory), checkpoint, tmp_path, precisions=("fp32",))
    assert names(found, "image", 3) == [REFERENCE, "ours fp32, eager"]
    assert found["left_out"]["image, ours fp32"] == "BadModel: no kernel for this GPU"
    assert found["left_out"]["image, ours fp32, eager, graphs"] == "out of memory"
    assert found["compile_s"] == {}


def test_an_engine_that_fails_at_one_batch_keeps_the_others(tmp_path: Path, checkpoint: Path) -> None:
    def small_only(tower: OurTower, *_: object) -> Forward:
        def run(batch: Tensor) -> Tensor:
            if len(batch) > 64:
                raise torch.OutOfMemoryError("out of memory")
            features: Tensor = tower.module(batch)
            return features

        return run

    found = report(stand_in(small_only), checkpoint, tmp_path, variants=False, precisions=("fp32",))
    assert "ours fp32" in names(found, "image", 3)
    assert "ours fp32" not in names(found, "image", 70)
    assert found["left_out"]["image, ours fp32, batch 70"] == "OutOfMemoryError: out of memory"


def test_when_time_is_over_nothing_more_is_compiled_and_the_round_is_the_last(tmp_path: Path, checkpoint: Path) -> None:
    found = report(stand_in(), checkpoint, tmp_path, precisions=("fp32",), seconds=0)
    assert names(found, "image", 70) == [REFERENCE, "ours fp32, eager"]
    assert "no time was left" in found["left_out"]["image, ours fp32"]
    assert found["rounds"] == 1


def test_a_deadline_by_shares() -> None:
    now = [5.0]
    deadline = Deadline(10, lambda: now[0])
    now[0] = 10.0
    assert deadline.passed(0.4)
    assert (deadline.left(), deadline.left(0.25), Deadline().left()) == (5.0, -2.5, math.inf)
    assert not deadline.passed()


@pytest.mark.slow
def test_a_real_package_for_each_tower(tmp_path: Path, checkpoint: Path) -> None:
    found = report(stand_in(compiled), checkpoint, tmp_path, precisions=("bf16",), seconds=math.inf)
    assert set(found["left_out"]) == set()
    assert set(found["compile_s"]) == {f"{what}, ours bf16" for what in ("image", "short text")}
    assert min(row["cosine"] for row in found["rows"]) > 0.99
    assert len(list(tmp_path.rglob("cuda-bf16-*.pt2"))) == 2


def _job(directory: Path, checkpoint: Path, seconds: float = math.inf) -> ModelJob:
    plan = replace(GPU, model=f"local-dir:{checkpoint}", precisions=("fp8", "bf16"), variants=False)
    subject = Subject.random(plan.model, 2)
    return ModelJob(plan, subject, directory, Deadline(seconds), lambda _: None)


@pytest.mark.slow
def test_packages_are_compiled_side_by_side_each_by_a_process(tmp_path: Path, checkpoint: Path) -> None:
    job = _job(tmp_path, checkpoint)
    seconds = compile_all(job, "cpu")
    assert set(seconds) == {"image, ours bf16", "short text, ours bf16"}  # no CPU has fp8
    assert {path.name for path in tmp_path.iterdir()} == {"cuda-bf16-image.pt2", "cuda-bf16-text.pt2"}
    with torch.inference_mode():
        tower = OurTower.build(job.subject, "image", "bf16", "cpu")
        served = compiled(tower, tmp_path / "cuda-bf16-image.pt2", "cpu")(tower.items)
        assert torch.cosine_similarity(served.float(), tower.module(tower.items).float()).min() > 0.999
    assert compile_all(job, "cpu") == {}, "what is there is not compiled again"


def test_when_time_is_over_no_compiler_stays_behind(tmp_path: Path, checkpoint: Path) -> None:
    before = set(psutil.Process().children())
    assert compile_all(_job(tmp_path, checkpoint, seconds=1), "cpu") == {}
    assert set(psutil.Process().children()) == before
    assert list(tmp_path.iterdir()) == []


@pytest.mark.gpu
@pytest.mark.parametrize("precision", GPU.precisions)
def test_on_a_gpu(tmp_path: Path, checkpoint: Path, precision: str) -> None:
    found = report(Cuda(), checkpoint, tmp_path, variants=False, precisions=(precision,))
    assert found["left_out"] == {}
    assert names(found, "image", 1)[-2:] == [f"ours {precision}", f"ours {precision}, graphs"]
    assert min(row["cosine"] for row in found["rows"]) > 0.98
    assert min(row["items_per_s"] for row in found["rows"]) > 0
    assert found["gemm_gflops"]["bf16"] > found["gemm_gflops"]["fp32"]
