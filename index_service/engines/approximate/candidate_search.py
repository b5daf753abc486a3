"""What an approximate engine offers: it finds candidates among its rows, and tells what it did not look at."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

from clip_core.wire import FloatArray
from index_service.engines.base import BoolArray, IntArray


class Setting(NamedTuple):
    """`effort` is the engine's own knob (efSearch, nprobe, leaves).

    `reorder` candidates are scored for each wanted hit, of which ten are counted at least.
    """

    effort: int
    reorder: int = 1


class Unseen(Protocol):
    """What an engine doesn't look at."""

    def above(self, queries: FloatArray, floors: FloatArray, effort: int, mask: BoolArray | None) -> FloatArray:
        """(B,): about how many rows that `mask` allows, and a seek with `effort` leaves out, have products with
        `queries` (B, D) above `floors` (B,).
        """
        ...

    def half(self) -> BoolArray | None:
        """A mask (N,) for half of what may be left out, taken as a whole; None where nothing is."""
        ...


class Seeker(Protocol):
    """A built index over N rows."""

    @property
    def efforts(self) -> Sequence[int]:
        """What calibration may try, ascending."""
        ...

    @property
    def filters(self) -> bool:
        """Whether `seek` takes a mask."""
        ...

    @property
    def knob(self) -> str:
        """What the effort is called."""
        ...

    @property
    def unseen(self) -> Unseen | None:
        """None where the engine can't tell."""
        ...

    def seek(self, queries: FloatArray, count: int, effort: int, mask: BoolArray | None) -> IntArray:
        """(B, ≤ count) candidate rows, the best by the engine's own codes first, -1 for none; some perhaps outside
        `mask`, which is None unless `filters`.
        """
        ...


@runtime_checkable
class Savable(Protocol):
    """A seeker whose index can be kept in a file."""

    def write(self, path: Path, notes: dict[str, Any]) -> None:
        """The index and `notes`, which are JSON."""
        ...


@runtime_checkable
class Learned(Seeker, Protocol):
    """A seeker that learned from its rows how to code others."""

    def emptied(self) -> Learned | None:
        """What was learned, without the rows; None where adding a row takes as long as learning anew."""
        ...

    def extended(self, vectors: FloatArray) -> Seeker:
        """Another with these rows (N, D) after its own."""
        ...


def ladder(least: int, most: int, step: float = 2**0.5) -> list[int]:
    """Efforts from `least` to `most`, each some 1.4 times the one before."""
    values, value = [], float(least)
    while value < most:
        values.append(round(value))
        value *= step
    return [*values, most]
