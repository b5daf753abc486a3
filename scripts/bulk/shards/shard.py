"""A shard: the part of a source that is read, encoded and written as one, or again."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any, Literal

Kind = Literal["files", "tar", "parquet", "lines"]
UNCUT = " not cut"  # behind a version: the file could not be read when it was cut
Json = dict[str, Any]


@dataclass(frozen=True)
class Shard:
    """`path` is a tar, a Parquet file or a text file, or the folder of files that `OUT/_bulk/files` lists.

    `start` and `end` are row groups of a Parquet file or bytes of a text file; `first` is the number of its first row
    or line. `version` changes with the content of `path`, and ends with UNCUT where nobody knows yet how to cut it.
    """

    number: int
    kind: Kind
    path: str
    start: int = 0
    end: int = 0
    first: int = 0
    version: str = ""

    @property
    def name(self) -> str:
        return f"{self.number:05}"

    @property
    def where(self) -> tuple[str, str, int]:
        """What it is a part of; two shards of one run differ in it."""
        return self.kind, self.path, self.number if self.kind == "files" else self.start

    def line(self) -> str:
        return json.dumps(asdict(self), separators=(",", ":"))


def read_shard(line: str) -> Shard:
    return Shard(**json.loads(line))


@dataclass(frozen=True)
class Done:
    """What became of a shard. `rows` are vectors, `bad` items without one.

    `error`: its source is damaged from there on; `again`: it could not be read at all, and is tried in the next run;
    `fatal`: no shard can be done any more.
    """

    number: int
    version: str
    rows: int = 0
    bad: int = 0
    seconds: float = 0.0
    codes: Json | None = None
    error: str = ""
    again: bool = False
    fatal: bool = False

    def json(self) -> str:
        return json.dumps(asdict(self), separators=(",", ":"))


def read_done(text: str) -> Done:
    return Done(**json.loads(text))
