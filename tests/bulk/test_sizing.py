"""How many processes and threads a run has on which machines."""

from __future__ import annotations

import pytest

from scripts.bulk.sizing import RayNode, Size, sized


@pytest.mark.parametrize(
    ("machines", "asked", "expected"),
    [
        ([(2, 0)], (None, None, 0), (1, 2)),
        ([(6, 0)], (None, None, 0), (1, 6)),
        ([(16, 0)], (None, None, 0), (4, 4)),
        ([(16, 1)], (None, None, 1), (1, 16)),
        ([(16, 1)], (None, None, 0.5), (2, 8)),
        ([(16, 8)], (None, None, 1), (8, 2)),
        ([(16, 0)] * 10, (None, None, 0), (40, 4)),
        ([(2, 0), (16, 0)], (None, None, 0), (9, 2)),
        ([(0, 0), (8, 0)], (None, None, 0), (2, 4)),
        ([(2, 0), (16, 4)], (None, None, 1), (4, 4)),
        ([(16, 0)], (2, None, 0), (2, 8)),
        ([(16, 0)] * 2, (1, None, 0), (1, 16)),
        ([(16, 0)], (None, 8, 0), (2, 8)),
    ],
)
def test_sizes(
    machines: list[tuple[int, float]], asked: tuple[int | None, int | None, float], expected: tuple[int, int]
) -> None:
    assert sized([RayNode(*each) for each in machines], *asked) == Size(*expected, True)


@pytest.mark.parametrize(
    ("machines", "asked"),
    [([(16, 0)], (None, None, 1)), ([(16, 1)], (1, 4, 2)), ([(4, 0)] * 8, (None, 8, 0)), ([], (None, None, 0))],
)
def test_what_no_machine_has_room_for(
    machines: list[tuple[int, float]], asked: tuple[int | None, int | None, float]
) -> None:
    assert not sized([RayNode(*each) for each in machines], *asked).fits
