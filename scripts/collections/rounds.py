"""A collection that others write to is followed round by round, until so little is left that writers can wait."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from clip_core.errors import Conflict

SHORT_S = 5.0
_SHRINKS, _STALLED = 0.9, 3  # a round that takes more than this share of the one before has stalled; so many may


def follow(collection: str, one_round: Callable[[], object], short_s: float = SHORT_S) -> None:
    """Each round brings over what was written during the one before.

    Raises Conflict where rounds don't get shorter: others write to the collection as fast as it is followed.
    """
    before, stalled = math.inf, 0
    while (took := _timed(one_round)) > short_s:
        stalled += took > _SHRINKS * before
        if stalled == _STALLED:
            raise Conflict(
                f"others write to {collection} as fast as it is followed: {took:.0f} s of work are left after each "
                "round. Slow them down, and run again"
            )
        before = took


def _timed(one_round: Callable[[], object]) -> float:
    started = time.monotonic()
    one_round()
    return time.monotonic() - started
