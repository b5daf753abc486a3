"""A lock in a bucket: an object that its holder writes anew every few seconds.

Stores have no locks, and not all of them have conditional writes. So who wants the lock watches the object: one that
changes has a living holder; one that stays the same for a while was left by a process that was killed. No clocks of two
machines are compared. Two drivers that slip through at the same moment notice at the next writing; they make the same
shards, so nothing is spoiled.
"""

from __future__ import annotations

import contextlib
import threading
import time
import uuid
from collections.abc import Iterator

from scripts.bulk.output.place import OutputPlace
from scripts.bulk.shards.errors import BulkFailed, BulkRefused

EVERY_S = 5.0
_WATCHED = 3  # writings that a living holder would have made meanwhile


class Lease:
    """`every_s`: between two writings."""

    def __init__(self, place: OutputPlace, name: str, every_s: float | None = None) -> None:
        self._place, self._name, self._every_s = place, name, every_s or EVERY_S
        self._me, self._beats = uuid.uuid4().hex, 0
        self._end = threading.Event()

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Raises BulkRefused while another one holds it, and BulkFailed where the place can't be written."""
        self._take()
        beating = threading.Thread(target=self._beat, name="lease", daemon=True)
        beating.start()
        try:
            yield
        finally:
            self._end.set()
            beating.join()
            with contextlib.suppress(OSError):
                if self._is_mine():
                    self._place.remove(self._name)

    def _take(self) -> None:
        try:
            before = self._place.read(self._name)
            if before is not None:
                self._watch(before)
            self._write()
            if before is not None:  # somebody else may have watched, too
                time.sleep(self._every_s / 2)
            if not self._is_mine():
                raise self._refusal()
        except OSError as error:
            raise BulkFailed(f"{self._place.address} can't be written: {error.strerror}") from error

    def _watch(self, before: bytes) -> None:
        """Raises BulkRefused as soon as it changes."""
        end = time.monotonic() + _WATCHED * self._every_s
        while time.monotonic() < end:
            time.sleep(self._every_s / 5)
            now = self._place.read(self._name)
            if now is None:
                return
            if now != before:
                raise self._refusal()

    def _beat(self) -> None:
        while not self._end.wait(self._every_s):
            with contextlib.suppress(OSError):  # a store that is away for a moment
                if not self._is_mine():  # this machine slept, and another driver went on
                    return
                self._write()

    def _write(self) -> None:
        self._beats += 1
        with self._place.writing(self._name) as file:
            file.write(f"{self._me} {self._beats}".encode())

    def _is_mine(self) -> bool:
        return (self._place.read(self._name) or b"").startswith(self._me.encode())

    def _refusal(self) -> BulkRefused:
        return BulkRefused(f"another `clipserve bulk` writes to {self._place.address}: let it end, or stop it")
