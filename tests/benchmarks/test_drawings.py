"""The plain drawings that the demo model is judged by: the same each time, and no query has two answers."""

from __future__ import annotations

import io
from collections.abc import Callable
from types import SimpleNamespace

import pytest
import torch
from PIL import Image

from benchmarks.drawings.demo_model import DemoModel
from benchmarks.drawings.drawing import Drawing
from benchmarks.drawings.kinds import BY_PYTHON, Kind, seeds
from benchmarks.drawings.sets import SIZE, plain_set, worded_set


@pytest.mark.parametrize("make", [plain_set, worded_set])
def test_a_set_has_twelve_queries(make: Callable[[int], list[Drawing]]) -> None:
    for seed in range(40):
        assert len({drawing.query for drawing in make(seed)}) == SIZE


@pytest.mark.parametrize("kind", BY_PYTHON, ids=[kind.name for kind in BY_PYTHON])
def test_a_seed_draws_the_same_pictures(kind: Kind) -> None:
    some = kind.make(7)[:3]
    pictures = [kind.pen.draw(drawing) for drawing in some]
    assert pictures == [kind.pen.draw(drawing) for drawing in kind.make(7)[:3]]
    assert len({Image.open(io.BytesIO(picture)).convert("RGB").tobytes() for picture in pictures}) == len(some)


def test_no_two_kinds_draw_the_same_sets() -> None:
    assert not set(seeds(0)) & set(seeds(1))
    assert plain_set(0) == plain_set(0) != plain_set(1)


def test_a_model_is_right_where_its_query_is_nearest_to_its_picture() -> None:
    planted = SimpleNamespace(
        encode_text=lambda ids, **_: torch.eye(len(ids)),
        encode_image=lambda images, **_: torch.eye(len(images))[[0, 2, 1]],
    )
    model = DemoModel(planted, lambda _: torch.zeros(1), list)
    picture = io.BytesIO()
    Image.new("RGB", (8, 8)).save(picture, "PNG")
    assert model.right(["a", "b", "c"], [picture.getvalue()] * 3) == 1


def test_pairs_are_said_to_be_two() -> None:
    assert sum(drawing.query.startswith("two ") for drawing in plain_set(3)) == 3
