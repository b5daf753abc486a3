"""What a worker needs to know, wherever it runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

EMBED = ("image", "text", "both")


@dataclass(frozen=True)
class BulkJob:
    """`archive` is a .mar that every worker can read, `out` a folder or a bucket that every worker can write.

    `embed`: pictures, texts, or pictures with their captions. `threads`: of a worker; `batch`: items of a pass.
    `storage` and `out_storage`: options of the buckets' file systems, of the source and of what is written.
    `thumbnails`: a folder or a bucket for these, or None.
    """

    archive: Path
    out: str
    embed: str
    layout: str
    batch: int
    threads: int
    texts: bool = False
    storage: Mapping[str, Any] = field(default_factory=dict)
    out_storage: Mapping[str, Any] = field(default_factory=dict)
    thumbnails: str | None = None
