"""A picture's file: its size and time, and its bytes of one moment."""

from __future__ import annotations

import os
from typing import NamedTuple

_TRIES = 2


class Skip(Exception):
    """A picture is left out; `reason` is short and the same for all pictures with that fate."""

    def __init__(self, reason: str, message: str = "") -> None:
        super().__init__(reason)
        self.reason, self.message = reason, message


class Stamp(NamedTuple):
    size: int
    mtime_ns: int


def stamp(path: str) -> Stamp:
    """Raises Skip."""
    try:
        about = os.stat(path)
    except FileNotFoundError:
        raise Skip("vanished") from None
    except OSError as error:
        raise Skip("unreadable", str(error.strerror)) from error
    return Stamp(about.st_size, about.st_mtime_ns)


def read(path: str) -> tuple[bytes, Stamp]:
    """The bytes, and the stamp that they belong to. Raises Skip, also for a file that changes all the time."""
    for _ in range(_TRIES):
        content, before, after = _read_once(path)
        if before == after and len(content) == before.size:
            if not content:
                raise Skip("empty file")
            return content, before
    raise Skip("changes while it is read")


def _read_once(path: str) -> tuple[bytes, Stamp, Stamp]:
    try:
        with open(path, "rb") as file:
            before = os.fstat(file.fileno())
            content = file.read()
            after = os.fstat(file.fileno())
    except FileNotFoundError:
        raise Skip("vanished") from None
    except OSError as error:
        raise Skip("unreadable", str(error.strerror)) from error
    return content, Stamp(before.st_size, before.st_mtime_ns), Stamp(after.st_size, after.st_mtime_ns)
