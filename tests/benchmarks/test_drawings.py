"""The plain drawings that the demo model is judged by: the same each time, and no query has two answers."""

from __future__ import annotations

import io
from collections.abc import Callable

import pytest
from PIL import Image

from benchmarks.drawings.drawing import Drawing
from benchmarks.drawings.kinds import BY_PYTHON, Kind
from benchmarks.drawings.sets import SIZE, plain_set, worded_set


@pytest.mark.parametrize("make", [plain_set, worded_set])
def test_a_set_has_twelve_queries(make: Callable[[int], list[Drawing]]) -> None:
    for seed in range(40):
        assert len({drawing.query for drawing in make(seed)}) == SIZE


@pytest.mark.parametrize("kind", BY_PYTHON, ids=[kind.name for kind in BY_PYTHON])
def test_a_seed_draws_the_same_pictures(kind: Kind) -> None:
    queries, pictures = kind.draw(7)
    assert (queries, pictures) == kind.draw(7)
    assert len({Image.open(io.BytesIO(picture)).convert("RGB").tobytes() for picture in pictures}) == SIZE


def test_pairs_are_said_to_be_two() -> None:
    assert sum(drawing.query.startswith("two ") for drawing in plain_set(3)) == 3
