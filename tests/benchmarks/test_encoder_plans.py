"""Which models, batches and precisions are measured where."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.encoders.command import _arguments
from benchmarks.encoders.plans import BASE, GPU, LARGE, ModelPlan, chosen, stem
from benchmarks.lib.reports import RESULTS


def asked(monkeypatch: pytest.MonkeyPatch, *arguments: str, gpu: bool = False) -> list[ModelPlan]:
    return chosen(parsed(monkeypatch, *arguments, gpu=gpu))


def parsed(monkeypatch: pytest.MonkeyPatch, *arguments: str, gpu: bool = False) -> Any:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    monkeypatch.setattr(sys, "argv", ["encoders", *arguments])
    return _arguments()


def test_the_device_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    assert asked(monkeypatch) == [BASE, LARGE]
    assert asked(monkeypatch, gpu=True) == [GPU]
    assert asked(monkeypatch, "--device", "cpu", gpu=True) == [BASE, LARGE]


def test_a_gpu_that_is_not_there_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        asked(monkeypatch, "--device", "cuda")
    assert "torch sees no CUDA here" in capsys.readouterr().err


def test_what_is_said_replaces_the_plans_own(monkeypatch: pytest.MonkeyPatch) -> None:
    said = ("--batches", "1", "2", "--rounds", "1", "--precisions", "fp32", "--no-serving", "--no-quality")
    (plan,) = asked(monkeypatch, "--model", "ViT-B-32", *said, "--no-variants")
    assert (plan.batches, plan.rounds, plan.precisions, plan.seconds) == ((1, 2), 1, ("fp32",), math.inf)
    assert (plan.serving, plan.quality, plan.variants) == (False, False, False)
    (plan,) = asked(monkeypatch, "--minutes", "2.5", gpu=True)
    assert (plan.seconds, plan.batches) == (150, GPU.batches)


def test_a_gpu_measures_towers_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (GPU.serving, GPU.quality) == (False, False)
    assert not [precision for precision in GPU.precisions if precision.startswith("int8")]
    (plan,) = asked(monkeypatch, "--model", "ViT-H-14", gpu=True)
    assert (plan.model, plan.device) == ("ViT-H-14", "cuda")


def test_results_of_each_device_and_model_have_their_own_file(monkeypatch: pytest.MonkeyPatch) -> None:
    plans = [*asked(monkeypatch), *asked(monkeypatch, "--model", "ViT-B-32", "ViT-L-14", gpu=True)]
    stems = ["encoders", "encoders-vit-l-14", "encoders-cuda", "encoders-cuda-vit-l-14"]
    assert [stem(plan) for plan in plans] == stems


@pytest.mark.parametrize(
    ("said", "directory"), [((), None), (("--save",), RESULTS), (("--save", "/tmp/x"), Path("/tmp/x"))]
)
def test_results_go_where_they_are_wanted(
    monkeypatch: pytest.MonkeyPatch, said: tuple[str, ...], directory: Path | None
) -> None:
    assert parsed(monkeypatch, *said).save == directory
