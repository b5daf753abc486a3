"""A worker computes on the GPU that TorchServe gave it where that can be, else on the CPU, and says why."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
import torch

from clip_core.encode.canaries import check
from clip_core.encode.encoded import Encoded
from clip_core.encode.encoders import Encoders
from clip_core.endpoint_config import EndpointConfig
from clip_core.errors import BadModel
from clip_core.inputs.request import Item, Part
from clip_core.towers.devices import move, serving_device
from scripts.archive.build import build
from scripts.archive.mar_files import unpacked


@pytest.mark.parametrize("gpu_id", [None, -1])
def test_without_a_gpu_it_is_the_cpu(gpu_id: int | None) -> None:
    assert serving_device(gpu_id, "fp32", lambda *_: None) == "cpu"


def test_the_gpu_is_the_one_that_torchserve_gave() -> None:
    able = {("bf16", "cuda:3"): None}
    assert serving_device(3, "bf16", lambda *asked: able[asked]) == "cuda:3"


def test_a_precision_that_the_gpu_lacks_is_served_by_the_cpu(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "clipserve.devices"):
        assert serving_device(0, "int8", lambda *_: "int8 is for CPUs here") == "cpu"
    (record,) = caplog.records
    assert (vars(record)["device"], vars(record)["reason"]) == ("cuda:0", "int8 is for CPUs here")


def test_a_worker_that_was_given_a_gpu_is_ready_where_there_is_none(model_dirs: dict[str, Path]) -> None:
    encoders = Encoders.load(model_dirs["text"], EndpointConfig(), gpu_id=0)
    assert encoders.text is not None
    assert encoders.text.device == ("cuda:0" if torch.cuda.is_available() else "cpu")
    assert min(check(encoders, model_dirs["text"])) > 0.999


def test_on_the_cpu_a_batch_is_not_copied() -> None:
    batch = torch.zeros(2, 3)
    assert move(batch, "cpu") is batch


def test_a_device_that_is_none_is_refused(tmp_path: Path, checkpoint: Path) -> None:
    with pytest.raises(BadModel, match="device is cpu or cuda"):
        build("demo", checkpoint=checkpoint, model_store=tmp_path, device="tpu")


@pytest.mark.gpu
@pytest.mark.parametrize("compile", [False, True])
def test_a_gpus_vectors_are_the_cpus(tmp_path: Path, checkpoint: Path, compile: bool) -> None:
    archives = build(
        "demo", checkpoint=checkpoint, model_store=tmp_path, precision="bf16", compile=compile, device="cuda"
    )
    items = [Item((Part("text", text),)) for text in ("a red circle", "two blue stars")]
    with unpacked(archives[0]) as directory:
        vectors = [_vectors(Encoders.load(directory, EndpointConfig(), gpu_id), items) for gpu_id in (0, None)]
    assert float((vectors[0] * vectors[1]).sum(axis=1).min()) > 0.999


def _vectors(encoders: Encoders, items: list[Item]) -> np.ndarray:
    results = encoders.encode(items, cut_long_texts=[True] * len(items))
    return np.stack([result.vector for result in results if isinstance(result, Encoded)])
