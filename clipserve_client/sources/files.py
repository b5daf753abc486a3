"""A picture's file: its size and time, and its bytes of one moment. A text's file: its lines."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

MOST_BYTES = 512 * 1024 * 1024  # of a picture's file
_TRIES = 2


class Skip(Exception):
    """A picture is left out; `reason` is short and the same for all pictures with that fate."""

    def __init__(self, reason: str, message: str = "") -> None:
        super().__init__(reason)
        self.reason, self.message = reason, message


def too_large(most_bytes: int) -> Skip:
    return Skip("too large", f"the file has more than {most_bytes:,} bytes")


class Stamp(NamedTuple):
    size: int
    mtime_ns: int


def is_within(path: str, folder: str) -> bool:
    """Whether it is the folder or below it once links are resolved. `folder` is resolved."""
    real = os.path.realpath(path)
    return real == folder or real.startswith(os.path.join(folder, ""))


def stamp(path: str) -> Stamp:
    """Raises Skip."""
    try:
        about = os.stat(path)
    except FileNotFoundError:
        raise Skip("vanished") from None
    except OSError as error:
        raise Skip("unreadable", str(error.strerror)) from error
    except ValueError as error:  # a null byte in the path
        raise Skip("unreadable", str(error)) from error
    return Stamp(about.st_size, about.st_mtime_ns)


def read(path: str, most_bytes: int = MOST_BYTES) -> tuple[bytes, Stamp]:
    """The bytes, and the stamp that they belong to. Raises Skip, also for a file that changes all the time."""
    if stamp(path).size > most_bytes:
        raise too_large(most_bytes)
    for _ in range(_TRIES):
        content, before, after = _read_once(path)
        if before == after and len(content) == before.size:
            if not content:
                raise Skip("empty file")
            return content, before
    raise Skip("changes while it is read")


def lines(file: BinaryIO, longest: int) -> Iterator[bytes]:
    """One of more than `longest` bytes comes as a text that says so, which is neither JSON nor a URL."""
    while line := file.readline(longest):
        if len(line) == longest and not line.endswith(b"\n"):
            line = b"a line that is too long"
            while (more := file.readline(longest)) and not more.endswith(b"\n"):
                pass
        yield line


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
