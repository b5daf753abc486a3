"""Which batch goes to which graph, and whose memory an answer is in; the graph itself is tested where a GPU is."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from clip_core.encode.encoders import Encoders
from clip_core.endpoint_config import EndpointConfig
from clip_core.errors import BadModel
from clip_core.towers.artifacts import TowerFacts
from clip_core.towers.cuda_graphs import BATCHES, Graph, GraphedForward
from clip_core.towers.towers import TextTower
from scripts.archive.build import build
from scripts.archive.mar_files import unpacked
from scripts.archive.model_source import ModelSource


class Replayed:
    """Stands in for CUDA's graphs: computes into the same memory at each replay, and keeps count."""

    def __init__(self, most: int = max(BATCHES)) -> None:
        self.most, self.captured, self.replays = most, list[tuple[int, ...]](), list[int]()

    def __call__(self, _: object, batch: Tensor) -> Graph:
        if len(batch) > self.most:
            raise torch.OutOfMemoryError("out of memory")
        self.captured.append(tuple(batch.shape))
        held = batch.clone()
        output = torch.full((len(batch), 2), float("nan"))

        def replay() -> None:
            self.replays.append(len(held))
            output.copy_(double(held))

        return Graph(held, output, replay)


def double(batch: Tensor) -> Tensor:
    """(B, N) → (B, 2): depends on every element of its row."""
    return torch.stack([batch.sum(dim=1), (batch * torch.arange(1, batch.shape[1] + 1)).sum(dim=1)], dim=1)


def graphed(length: int = 3, most: int = max(BATCHES)) -> tuple[GraphedForward, Replayed, list[int]]:
    """A captured forward pass, its graphs, and the sizes of the batches that ran plainly."""
    plain: list[int] = []

    def run(batch: Tensor) -> Tensor:
        plain.append(len(batch))
        return double(batch)

    graphs = Replayed(most)
    forward = GraphedForward(run, graphs)
    forward.capture(torch.ones(1, length))
    return forward, graphs, plain


@given(st.lists(st.integers(1, 80), min_size=1, max_size=12))
def test_every_batch_gets_its_own_rows_whatever_ran_before(sizes: list[int]) -> None:
    forward, graphs, plain = graphed()
    batches = [torch.randn(size, 3) for size in sizes]
    answers = [forward(batch) for batch in batches]
    for batch, answer in zip(batches, answers, strict=True):  # read when all have run: none was overwritten
        assert torch.equal(answer, double(batch))
    assert len(graphs.replays) == sum(size <= max(BATCHES) for size in sizes)
    assert plain == [size for size in sizes if size > max(BATCHES)]


@pytest.mark.parametrize(("rows", "size"), [(1, 1), (3, 4), (5, 8), (8, 8), (9, 12), (33, 48), (64, 64)])
def test_a_batch_takes_the_next_captured_size(rows: int, size: int) -> None:
    forward, graphs, plain = graphed()
    forward(torch.ones(rows, 3))
    assert (graphs.replays, plain) == ([size], [])


def test_other_shapes_run_plainly() -> None:
    forward, graphs, plain = graphed(length=3)
    assert forward(torch.ones(2, 5)).tolist() == [[5.0, 15.0]] * 2
    assert (graphs.replays, plain) == ([], [2])


def test_a_batch_that_would_be_mostly_padding_runs_plainly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clip_core.towers.cuda_graphs.BATCHES", (8,))
    forward, graphs, plain = graphed()
    forward(torch.ones(3, 3))
    forward(torch.ones(4, 3))
    assert (plain, graphs.replays) == ([3], [8])


def test_a_capture_that_fails_is_said_once_and_the_plain_pass_serves(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "clipserve.cuda_graphs"):
        forward, graphs, plain = graphed(most=0)
        forward.capture(torch.ones(1, 5))
    (record,) = caplog.records
    assert (vars(record)["shape"], vars(record)["reason"]) == ([64, 3], "out of memory")
    assert (forward.failure, forward.has_graph(torch.ones(2, 3))) == ("out of memory", False)
    assert forward(torch.ones(2, 3)).tolist() == [[3.0, 6.0]] * 2
    assert (graphs.captured, plain) == ([], [2])


def test_a_text_tower_captures_every_length_that_it_cuts_to() -> None:
    graphs = Replayed()
    tower = TextTower(GraphedForward(double, graphs), TowerFacts("text", cuts=True), compiled=False)
    example = torch.zeros(1, 10, dtype=torch.int64)
    example[0, :3] = torch.tensor([98, 5, 99])
    tower.warm_up(example)
    assert set(graphs.captured) == {(size, length) for size in BATCHES for length in (8, 10)}
    graphs.replays.clear()
    ids = example.repeat(3, 1)
    assert torch.equal(tower.forward(ids), double(ids[:, :8]).float())
    assert graphs.replays == [4]


def test_on_a_cpu_there_are_none(model_dirs: dict[str, Path]) -> None:
    encoders = Encoders.load(model_dirs["image"], EndpointConfig())
    assert encoders.spec.cuda_graphs
    assert encoders.image is not None
    assert not isinstance(encoders.image.run, GraphedForward)


def test_model_yaml_says_true_or_false(tmp_path: Path) -> None:
    (tmp_path / "model.yaml").write_text("name: x\ncheckpoint: .\ncuda_graphs: maybe\n")
    with pytest.raises(BadModel, match="cuda_graphs is true or false"):
        ModelSource.read(tmp_path)


@pytest.mark.gpu
@pytest.mark.parametrize("compile", [False, True])
def test_graphs_give_what_the_plain_pass_gives(tmp_path: Path, checkpoint: Path, compile: bool) -> None:
    archives = build(
        "demo", checkpoint=checkpoint, model_store=tmp_path, precision="bf16", compile=compile, device="cuda"
    )
    image = next(path for path in archives if path.stem == "clip_image")
    with unpacked(image) as directory:
        encoders = Encoders.load(directory, EndpointConfig(), gpu_id=0)
        encoders.warm_up()
    assert encoders.image is not None
    run = encoders.image.run
    assert isinstance(run, GraphedForward)
    assert run.failure is None
    with torch.inference_mode():
        batches = [torch.randint(0, 256, (rows, 3, 32, 32), dtype=torch.uint8, device="cuda") for rows in (1, 3, 64)]
        answers = [run(batch) for batch in batches]
        for batch, answer in zip(batches, answers, strict=True):
            np.testing.assert_allclose(answer.float().cpu(), run.run(batch).float().cpu(), atol=0.02, rtol=0.02)
