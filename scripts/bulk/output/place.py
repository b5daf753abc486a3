"""Where a run writes: a folder of this machine, or of all machines of a cluster, or a bucket's prefix.

Files are named by their path below it, with slashes. Each is at its place only once it is whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import IO, Protocol

from scripts.sync.ahead import ahead

LOCK = "_bulk/lock"


class OutputPlace(Protocol):
    """Every method raises OSError where the place can't be read or written."""

    address: str
    threads: int  # how many reads at once are worth while

    def writing(self, name: str) -> AbstractContextManager[IO[bytes]]:
        """The file appears when the context ends; after an exception what was there before stays."""
        ...

    def read(self, name: str) -> bytes | None:
        """None where there is no such file."""
        ...

    def here(self, name: str) -> AbstractContextManager[Path | None]:
        """The same as a file of this machine, while the context lasts."""
        ...

    def names(self, folder: str) -> set[str]:
        """Of what is in it, files and folders, without their path; none where it is not there."""
        ...

    def remove(self, name: str) -> None: ...

    def locked(self) -> AbstractContextManager[None]:
        """Raises BulkRefused while another driver has it, and BulkFailed."""
        ...

    def sweep(self) -> None:
        """Remove what a process that was killed left unfinished."""
        ...


def write_text(place: OutputPlace, name: str, text: str) -> None:
    with place.writing(name) as file:
        file.write(text.encode())


def read_all(place: OutputPlace, names: Iterable[str]) -> Iterator[bytes | None]:
    """In the order of `names`."""
    return ahead(names, place.read, place.threads)
