"""What came of reranking one search's hits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]


@dataclass
class Reranked:
    """`order` are places in the search's hits, all of them, the best first; `note` says why they are as they were.

    `asked`: whether anything was asked about them.
    """

    order: list[int]
    note: str | None = None
    asked: bool = True
    without_picture: int = 0
    scored: int = 0
    pictures: int = 0
    told: Json = field(default_factory=dict)


def as_it_was(hits: Sequence[object], note: str) -> Reranked:
    """In the search's order, and nothing was asked about them."""
    return Reranked(list(range(len(hits))), note, asked=False)
