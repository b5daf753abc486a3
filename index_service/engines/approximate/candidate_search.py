"""The interface of an approximate engine: it finds candidates among its rows and estimates what it did not probe."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

from clip_core.wire import FloatArray
from index_service.engines.base import BoolArray, IntArray


class SearchParameters(NamedTuple):
    """`effort` is nprobe for inverted lists, efSearch for a graph, leaves for ScaNN.

    `rerank_factor` candidates are scored for each wanted hit. At least ten hits are counted.
    """

    effort: int
    rerank_factor: int = 1


class UnprobedRows(Protocol):
    """Estimates what a search did not probe."""

    def expected_above(
        self, queries: FloatArray, min_scores: FloatArray, effort: int, mask: BoolArray | None
    ) -> FloatArray:
        """(B,) float32: the expected number of unprobed rows whose product with `queries` (B, D) is above `min_scores`
        (B,). Counts the rows that `mask` (N,) allows and that a search with `effort` does not probe.
        """
        ...

    def half_mask(self) -> BoolArray | None:
        """A mask (N,) for half of the units that a search probes as a whole; None where every row is probed."""
        ...


class CandidateSearch(Protocol):
    """A built index over N rows."""

    @property
    def efforts(self) -> Sequence[int]:
        """The efforts that calibration may try, ascending."""
        ...

    @property
    def takes_mask(self) -> bool:
        """Whether `search` takes a mask."""
        ...

    @property
    def effort_name(self) -> str:
        """The engine's own name of the effort, such as nprobe."""
        ...

    @property
    def unprobed(self) -> UnprobedRows | None:
        """None where the engine can't estimate it."""
        ...

    def search(self, queries: FloatArray, count: int, effort: int, mask: BoolArray | None) -> IntArray:
        """Candidate rows (B, ≤ count) for `queries` (B, D), best first by the engine's own codes, -1 for none.

        `mask` (N,) is None unless `takes_mask`. Some rows may be outside the mask.
        """
        ...


@runtime_checkable
class SavableSearch(Protocol):
    """A candidate search whose index can be kept in a file."""

    def write(self, path: Path, notes: dict[str, Any]) -> None:
        """Write the index and `notes`, which are JSON. Raises OSError."""
        ...


@runtime_checkable
class ExtensibleSearch(CandidateSearch, Protocol):
    """A candidate search that can code new rows with what it learned from its own."""

    def empty_copy(self) -> ExtensibleSearch | None:
        """The same training without rows; None where adding a row takes as long as training again."""
        ...

    def extended(self, vectors: FloatArray) -> CandidateSearch:
        """A copy with these rows (N, D) after its own."""
        ...


def effort_ladder(least: int, most: int) -> list[int]:
    """Efforts from `least` to `most`, each about 1.4 times the one before."""
    values, value = [], float(least)
    while value < most:
        values.append(round(value))
        value *= 2**0.5
    return [*values, most]
