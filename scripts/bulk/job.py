"""What a worker needs to know, wherever it runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

EMBED = ("image", "text", "both")


@dataclass(frozen=True)
class BulkJob:
    """`archive` is a .mar that every worker can read, `out` a folder that every worker can write.

    `embed`: pictures, texts, or pictures with their captions. `threads`: of a worker; `batch`: items of a pass.
    """

    archive: Path
    out: Path
    embed: str
    layout: str
    batch: int
    threads: int
    texts: bool = False
    storage: Mapping[str, Any] = field(default_factory=dict)
