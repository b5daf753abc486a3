"""The size of a forward pass, on machines whose times are formulas and on a real archive."""

from __future__ import annotations

from pathlib import Path

import pytest

from clip_core.encode.encoders import Encoders
from clip_core.endpoint_config import EndpointConfig
from clip_core.errors import BadModel
from scripts.tune.device_batch import SIZES, measure, passes, pick, rates


class Machine:
    """A pass costs `fixed` seconds, `item` an item, and `overflow` for each item above 16."""

    def __init__(self, fixed: float, item: float, overflow: float = 0.0) -> None:
        self.fixed, self.item, self.overflow, self.now = fixed, item, overflow, 0.0

    def run(self, size: int) -> None:
        self.now += self.fixed + self.item * size + self.overflow * max(0, size - 16)

    def clock(self) -> float:
        return self.now


@pytest.mark.parametrize(
    ("machine", "best"),
    [
        (Machine(0.010, 0.001), 64),  # what a pass costs is all: the largest
        (Machine(0.0, 0.001), 4),  # nothing is gained: the smallest
        (Machine(0.002, 0.001, 0.001), 16),  # caches overflow
    ],
)
def test_the_smallest_size_among_the_fastest_wins(machine: Machine, best: int) -> None:
    found = rates(machine.run, budget_s=10.0, clock=machine.clock)
    assert tuple(found) == SIZES
    assert pick(found) == best
    assert 10.0 <= machine.now < 12.0


def test_a_slow_tower_is_not_tried_at_sizes_that_would_take_long() -> None:
    machine = Machine(0.0, 0.2)
    assert list(rates(machine.run, budget_s=10.0, clock=machine.clock)) == [4]
    assert machine.now < 12.0


def test_an_archive_that_does_not_load_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadModel, match=r"model-config\.yaml"):
        measure(tmp_path)


@pytest.mark.parametrize("kind", ["text", "image", "multimodal"])
def test_the_towers_of_each_kind_run_at_every_size(model_dirs: dict[str, Path], kind: str) -> None:
    encoders = Encoders.load(model_dirs[kind], EndpointConfig())
    found = rates(passes(encoders), budget_s=0.0, sizes=(4,))
    assert found[4] > 0


@pytest.mark.slow
def test_an_archive_is_timed_in_a_process_of_its_own(model_dirs: dict[str, Path]) -> None:
    assert set(measure(model_dirs["text"])) <= set(SIZES)
