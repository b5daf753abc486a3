"""What reranking asks of a captioner, and of how it is asked nothing is known here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from clip_core.errors import ClipServeError

Row: TypeAlias = list[float] | ClipServeError | None
"""log P of each text for one picture; the picture's error; None for a picture that was left out."""


@dataclass(frozen=True)
class Scores:
    """`rows` in the order of the pictures. `tokens` were read by the decoder, `pictures` by the image tower."""

    rows: list[Row]
    tokens: int = 0
    pictures: int = 0


class PictureScorer(Protocol):
    async def score(self, places: Sequence[int], texts: Sequence[str], most_tokens: int | None) -> Scores:
        """The candidates at `places`, as many of the first as `most_tokens` reaches. Raises ClipServeError."""
