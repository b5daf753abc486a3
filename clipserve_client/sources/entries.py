"""What every source gives: entries that are read when they are needed, and results of what can't be an item."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from clipserve_client.errors import ClientError
from clipserve_client.ingest.results import Result
from clipserve_client.sources.files import Skip, Stamp

Json = dict[str, Any]


class SourceError(ClientError):
    """A source as a whole can't be read, or not to its end. `why` says what is wrong without the name of a file."""

    def __init__(self, message: str, why: str = "") -> None:
        super().__init__(message)
        self.why = why


class SourceGone(SourceError):
    """There is nothing where the source should be."""


class Loaded(NamedTuple):
    """What an item is made of: one of a picture's bytes, its URL and a text. `stamp`: of the moment of reading.

    `fault`: why its picture is left out, from sources that were told to give the rest all the same.
    """

    content: bytes | None = None
    url: str | None = None
    text: str | None = None
    metadata: Json = {}  # noqa: RUF012 (never changed)
    notes: tuple[str, ...] = ()
    stamp: Stamp | None = None
    fault: Skip | None = None


@dataclass(frozen=True)
class Entry:
    """One item of a source before it is read.

    `path` is the file that holds it. While its `stamp` and `about` (metadata that is known beforehand) are the same,
    so is the item; `stamp` raises Skip. `named`: its id is made of a name, which another file may have as well.
    `folder`: the one that is read, links resolved; None where one file is.
    """

    id: str
    path: bytes
    load: Callable[[], Loaded]  # raises Skip
    stamp: Callable[[], Stamp | None] = lambda: None
    about: Json = field(default_factory=dict)
    named: bool = True
    folder: str | None = None


Entries = Generator[Entry | Result, None, None]
"""Closing them closes what they are read from."""


class Source(Protocol):
    def count(self) -> int | None:
        """How many entries there are; None when only reading it all would tell."""
        ...

    def entries(self) -> Entries:
        """In a fixed order; an entry is loaded before the next one is asked for. Raises SourceError."""
        ...

    def close(self) -> None: ...
