"""Ctrl-C, SIGTERM and SIGHUP: the first asks `up` to stop, the second to hurry.

Signals are counted by a thread, and `up` looks at the count. A handler that raises could be lost: Python drops
exceptions that are raised inside finalizers and callbacks.
"""

from __future__ import annotations

import os
import signal
import socket
import threading
import time

_NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stopped(Exception):
    """Someone asked us to stop."""


class StopSignals:
    """For the main thread. Parts write their logs through this process, so it can't be suspended by Ctrl-Z.

    `last_s` after the second signal the process ends wherever its main thread is; Linux ends the parts with it.
    """

    def __init__(self, last_s: float = 5.0) -> None:
        self._last_s = last_s
        self._asked, self._hurried = threading.Event(), threading.Event()
        reader, self._writer = socket.socketpair()
        self._writer.setblocking(False)
        signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        threading.Thread(target=self._listen, args=(reader,), name="signals", daemon=True).start()
        for number in _NUMBERS:
            if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:  # `nohup` ignores it
                signal.signal(number, lambda *_: None)
        signal.signal(signal.SIGTSTP, signal.SIG_IGN)

    @property
    def hurried(self) -> bool:
        """Whether there was a second signal."""
        return self._hurried.is_set()

    def pause(self, seconds: float) -> None:
        """Every wait before the stop. Raises Stopped as soon as there was a signal."""
        if self._asked.wait(seconds):
            raise Stopped

    def _listen(self, reader: socket.socket) -> None:
        """Python writes each signal's number to the socket, whatever the main thread does."""
        for event in (self._asked, self._hurried):
            while reader.recv(1)[0] not in _NUMBERS:
                pass
            event.set()
        time.sleep(self._last_s)
        os._exit(1)
