"""How long to wait before what failed is tried again: twice as long each time, up to ten minutes."""

from __future__ import annotations

from collections.abc import Iterator

_FIRST_S, _MOST_S = 1.0, 600.0


def wait_after(failures: int) -> float:
    """Seconds, after so many failures in a row; 0 after none."""
    return min(_FIRST_S * 2.0 ** (min(failures, 32) - 1), _MOST_S) if failures else 0.0


def waits() -> Iterator[float]:
    """The waits between endless tries."""
    failures = 0
    while True:
        yield wait_after(failures := failures + 1)
