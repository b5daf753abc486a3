"""Which file an item was made from. Another one of the same name is never shown for it.

Two fields of metadata say so, and patches leave both as they are: `digest`, SHA-256 of the picture as it was sent, and
`original_file` of what was read from a folder: {"path": below the folder, "digest": of the file, where it was sent
converted or scaled down}. Of an item that the gateway saw no picture of, `file` names the file.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from gateway.pictures.store import is_digest

DIGEST = "digest"  # SHA-256 of the picture's bytes, in hex; the gateway writes it
ORIGINAL_FILE = "original_file"  # clients and jobs write it
_CHUNK = 1024 * 1024  # bytes
_KNOWN = 4096  # files


class Original(NamedTuple):
    """`digest`: of the file's bytes; None: whatever they are."""

    path: str | None
    digest: str | None


def original_of(metadata: Mapping[str, Any]) -> Original:
    told = metadata.get(ORIGINAL_FILE)
    told = told if isinstance(told, dict) else {}
    path, digests = told.get("path", metadata.get("file")), (told.get("digest"), metadata.get(DIGEST))
    return Original(path if isinstance(path, str) else None, next(filter(is_digest, digests), None))


def has_bytes(path: Path, digest: str) -> bool:
    """Whether this is the file's SHA-256. False for one that can't be read."""
    try:
        about = os.stat(path)
        return _digest(path, about.st_ino, about.st_size, about.st_mtime_ns) == digest
    except OSError:
        return False


@lru_cache(_KNOWN)
def _digest(path: Path, *_: int) -> str:
    """Read again once one of the other arguments has changed. Raises OSError."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
