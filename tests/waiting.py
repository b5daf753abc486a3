"""Waiting for what comes in its own time: looked at again and again until a deadline, never once after a pause."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
PATIENCE_S = 30.0  # for a machine with other work; what is there at once costs none of it


def until(look: Callable[[], T], seconds: float = PATIENCE_S) -> T:
    """What `look` gives as soon as that is true of it. Raises AssertionError with the last it gave."""
    deadline = time.monotonic() + seconds
    while not (seen := look()):
        assert time.monotonic() < deadline, f"still {seen!r} after {seconds:g} s"
        time.sleep(0.01)
    return seen


def settled(look: Callable[[], T], quiet_s: float, seconds: float = PATIENCE_S) -> T:
    """What `look` gives once it has been the same for `quiet_s`."""
    deadline = time.monotonic() + seconds
    seen, since = look(), time.monotonic()
    while time.monotonic() - since < quiet_s:
        assert time.monotonic() < deadline, f"still changing after {seconds:g} s: {seen!r}"
        time.sleep(0.05)
        if (now := look()) != seen:
            seen, since = now, time.monotonic()
    return seen
