"""The text tower's lengths: warmed up before the first request, whatever the model's context."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from clip_core.towers.artifacts import TowerFacts
from clip_core.towers.towers import TextTower


@pytest.mark.parametrize(
    ("context", "lengths"), [(77, {8, 12, 16, 24, 32, 48, 64, 77}), (32, {8, 12, 16, 24, 32}), (10, {8, 10})]
)
def test_every_length_of_a_context_is_warmed_up(context: int, lengths: set[int]) -> None:
    seen: set[int] = set()

    def run(ids: Tensor) -> Tensor:
        seen.add(ids.shape[1])
        return torch.zeros(len(ids), 4)

    example = torch.zeros(1, context, dtype=torch.int64)
    example[0, :3] = torch.tensor([98, 5, 99])
    TextTower(run, TowerFacts("text", cuts=True), compiled=False).warm_up(example)
    assert seen == lengths
