"""When work is done again: every few seconds beside a worker's batches, or after pauses that double with failures."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

log = logging.getLogger("clipserve.periodic")
_MOST_DOUBLED = 64  # times: after a night of failures the pause would be too large for a float


def doubled(first_s: float, times: int, longest_s: float) -> float:
    """Seconds: `first_s`, doubled so many times (0: not at all), at most `longest_s`."""
    return min(first_s * 2.0 ** min(times, _MOST_DOUBLED), longest_s)


class Periodic:
    """`work` once in `interval_s` seconds, on a thread that ends with the process; once more when stopped."""

    def __init__(self, name: str, work: Callable[[], None], interval_s: float) -> None:
        self._work, self._interval_s = work, interval_s
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        self._work()

    def _run(self) -> None:
        while not self._stopped.wait(self._interval_s):
            self._try()

    def _try(self) -> None:
        """The next time may go well."""
        try:
            self._work()
        except Exception:
            log.exception("%s failed", self._thread.name)
