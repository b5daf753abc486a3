"""`--out` → the place that it names."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from scripts.bulk.output.folder import OutputFolder
from scripts.bulk.output.place import OutputPlace
from scripts.bulk.output.remote import OutputBucket
from scripts.sync.bucket import is_url


def open_place(address: str, storage: Mapping[str, Any]) -> OutputPlace:
    """`storage`: options of a bucket's file system. Raises SourceError where the package for it is missing."""
    return OutputBucket(address, storage) if is_url(address) else OutputFolder(Path(address))
