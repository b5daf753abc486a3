"""Ctrl-C, SIGTERM and SIGHUP: the first ends what the main thread does, any further one makes the stop hurry."""

from __future__ import annotations

import signal
from types import FrameType

_NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stopped(Exception):
    """Someone asked us to stop."""


class StopSignals:
    """For the main thread. Parts write their logs through this process, so it can't be suspended by Ctrl-Z."""

    def __init__(self) -> None:
        self.hurried = False
        self._stopping = False
        for number in _NUMBERS:
            if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:  # `nohup` ignores it
                signal.signal(number, self._received)
        signal.signal(signal.SIGTSTP, signal.SIG_IGN)

    def stopping(self) -> None:
        """From now on no signal raises Stopped."""
        self._stopping = True

    def _received(self, _number: int, _frame: FrameType | None) -> None:
        if self._stopping:
            self.hurried = True
            return
        self._stopping = True
        raise Stopped
