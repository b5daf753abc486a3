"""Pictures of scenes in groups that differ in one thing, each group with a sentence that only its first shows.

They are drawn by scripts/demo/captioner/rerank_canaries.py, of colours, shapes and places.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

FILE = Path(__file__).with_name("canaries.json")


@dataclass(frozen=True)
class CanaryGroup:
    """`pictures` are base64; `text` is true of the first."""

    text: str
    pictures: tuple[str, ...]


@cache
def canary_groups() -> tuple[CanaryGroup, ...]:
    """Read once."""
    told = json.loads(FILE.read_text(encoding="utf-8"))
    return tuple(CanaryGroup(each["text"], tuple(each["pictures"])) for each in told)


def share_right(scores: Sequence[Sequence[float]]) -> float:
    """Of the groups, by what each picture scores: the share whose first is above all others."""
    return sum(row[0] > max(row[1:]) for row in scores) / len(scores)
