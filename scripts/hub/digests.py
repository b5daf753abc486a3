"""What the hub calls a file's content by: the SHA-256 of large files, git's own digest of small ones."""

from __future__ import annotations

import hashlib
from pathlib import Path

_CHUNK = 1 << 22


def sha256_of(path: Path) -> str:
    """64 hex digits. Raises OSError."""
    return _read_into(hashlib.sha256(), path)


def git_digest_of(path: Path) -> str:
    """40 hex digits: the SHA-1 of a git blob. Raises OSError."""
    head = f"blob {path.stat().st_size}\0".encode()
    return _read_into(hashlib.sha1(head, usedforsecurity=False), path)


def has_digest(path: Path, expected: str) -> bool:
    """`expected` is of 64 or of 40 hex digits. Raises OSError."""
    return expected == (sha256_of(path) if len(expected) == 64 else git_digest_of(path))


def _read_into(digest: hashlib._Hash, path: Path) -> str:
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
