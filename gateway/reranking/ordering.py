"""Orders in which some candidates stay where they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


def reordered(order: Sequence[int], scores: Mapping[int, float]) -> list[int]:
    """The candidates with scores, the best first, on the places that they hold together; ties stay as they were."""
    ranked = iter(sorted((each for each in order if each in scores), key=lambda each: -scores[each]))
    return [next(ranked) if each in scores else each for each in order]
