"""Syncs that follow on each other: when the source changed and came to rest, and at fixed intervals."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from clip_core.periodic import doubled
from clipserve_client.errors import ClientError

_MOST_LOOKS = 30  # at a source that never comes to rest, before it is synced all the same
_LONGEST_PAUSE_S = 300.0


@dataclass(frozen=True)
class Plan:
    """`interval_s`: between looks at a source that is watched, else None; `every_s`: between syncs whatever happens."""

    interval_s: float | None = None
    every_s: float | None = None

    def repeats(self) -> bool:
        return self.interval_s is not None or self.every_s is not None


class Repeated:
    """`once` syncs; `look` gives what changes with the source; `say` is told of failures, after which it goes on."""

    def __init__(
        self,
        plan: Plan,
        once: Callable[[], object],
        look: Callable[[], object],
        say: Callable[[str], object],
        *,
        sleep: Callable[[float], object] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._plan, self._once, self._look, self._say = plan, once, look, say
        self._sleep, self._clock = sleep, clock
        self._failures = 0
        self._away = False  # it was said that the source can't be looked at

    def run(self, rounds: int | None = None) -> None:
        """For ever, or so many syncs."""
        done = 0
        while rounds is None or done < rounds:
            state, went_well = self._try_once()
            done += 1
            if rounds is None or done < rounds:
                self._wait(state, went_well)

    def _try_once(self) -> tuple[object, bool]:
        """The state of the source from before the sync: what changes during it is seen afterwards."""
        try:
            state = self._look() if self._plan.interval_s is not None else None
            self._once()
        except ClientError as error:
            self._failures += 1
            self._say(f"{error.message}; tried again in {self._pause_s():.0f} s")
            return None, False
        self._failures = 0
        return state, True

    def _pause_s(self) -> float:
        first = self._plan.interval_s or min(self._plan.every_s or 60.0, 60.0)
        return doubled(max(first, 1.0), self._failures - 1, _LONGEST_PAUSE_S)

    def _wait(self, state: object, went_well: bool) -> None:
        if not went_well:
            self._sleep(self._pause_s())
            return
        end = None if self._plan.every_s is None else self._clock() + self._plan.every_s
        if self._plan.interval_s is None:
            self._sleep(self._plan.every_s or 0.0)
            return
        last, looks = state, 0
        while end is None or self._clock() < end:
            self._sleep(self._plan.interval_s)
            now = self._looked(last)
            looks = looks + 1 if now != state else 0
            if now != state and (now == last or looks >= _MOST_LOOKS):
                return
            last = now

    def _looked(self, last: object) -> object:
        """The same as before where it can't be looked at just now."""
        try:
            now = self._look()
        except ClientError as error:
            if not self._away:
                self._say(f"{error.message}; nothing is followed until it can")
            self._away = True
            return last
        self._away = False
        return now
