"""What a source that is followed gives: its pictures before they are read, each with a mark of its version."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from clipserve_client.ingest.results import Result
from clipserve_client.sources.entries import Loaded

Json = dict[str, Any]


@dataclass(frozen=True)
class Listed:
    """One picture. `file` is its path below the source, with slashes.

    While what `version` gives is the same, so are the picture and what stands beside it. `in_folder`: a gateway on
    this machine may show the original.
    """

    id: str
    file: str
    version: Callable[[], Any]  # JSON; raises Skip
    load: Callable[[], Loaded]  # raises Skip
    in_folder: bool = False


class Followed(Protocol):
    address: str
    threads: int  # how many pictures are read at once

    def entries(self) -> Iterator[Listed | Result]:
        """All pictures in a fixed order, each time the same ones. Raises SourceError."""
        ...

    def close(self) -> None: ...
