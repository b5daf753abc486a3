"""When a part that ended is started again, and when it has ended too often."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from clip_core.periodic import doubled

LONGEST_DELAY_S = 30.0


@dataclass(frozen=True)
class RestartPolicy:
    """At most `limit` restarts of a part in any `window_s` seconds, each after twice the pause of the one before."""

    limit: int = 5
    window_s: float = 300.0
    first_delay_s: float = 0.25

    def delay(self, restarts: int) -> float | None:
        """The pause before one more restart, after so many in the window; None: give up."""
        return None if restarts >= self.limit else doubled(self.first_delay_s, restarts, LONGEST_DELAY_S)


@dataclass
class RestartHistory:
    """The recent restarts of one part; `now` is on the clock of time.monotonic()."""

    policy: RestartPolicy
    _times: deque[float] = field(default_factory=deque)

    def next_delay(self, now: float) -> float | None:
        """The pause before the next restart, which counts from then on; None: give up."""
        while self._times and now - self._times[0] > self.policy.window_s:
            self._times.popleft()
        delay = self.policy.delay(len(self._times))
        if delay is not None:
            self._times.append(now + delay)
        return delay
