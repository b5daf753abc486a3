"""Work that a worker does once in a while, beside its batches."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

log = logging.getLogger("clipserve.periodic")


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
