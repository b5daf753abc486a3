"""A Parquet file's seal: SHA-256 of all the rest of the file, between its row groups and its footer.

    PAR1, row groups │ "clipseal", 32 bytes of digest │ footer, its length, PAR1

Checksums of pages don't cover the footer, which says how many rows there are and where. Readers of Parquet follow the
footer to the row groups and never see the seal.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import BinaryIO

_MAGIC = b"clipseal"
_SEAL_BYTES = len(_MAGIC) + hashlib.sha256().digest_size
_END_BYTES = 8  # the footer's length and `PAR1`
_STEP = 1 << 20


def seal(path: Path) -> None:
    """Put the seal into a file that has none. Raises OSError."""
    with path.open("r+b") as file:
        start = _footer_start(file)
        file.seek(start)
        footer = file.read()
        digest = _digest(file, start, start)
        file.seek(start)
        file.write(_MAGIC + digest + footer)


def sealed(path: Path) -> bool:
    """Whether the file has a seal. Raises ValueError when the file isn't what was sealed, OSError."""
    with path.open("rb") as file:
        footer = _footer_start(file)
        start = footer - _SEAL_BYTES
        file.seek(max(start, 0))
        found = file.read(_SEAL_BYTES)
        if start < 0 or not found.startswith(_MAGIC):
            return False
        if _digest(file, start, footer) != found[len(_MAGIC) :]:
            raise ValueError("it isn't as it was written: its SHA-256 differs")
        return True


def _footer_start(file: BinaryIO) -> int:
    """Where the footer begins. Raises ValueError when that is outside the file."""
    size = file.seek(0, 2)
    file.seek(max(size - _END_BYTES, 0))
    end = file.read(_END_BYTES)
    start = size - _END_BYTES - int.from_bytes(end[:4], "little")
    if end[4:] != b"PAR1" or start < 0:
        raise ValueError("it doesn't end as Parquet does")
    return start


def _digest(file: BinaryIO, end: int, again: int) -> bytes:
    """Of everything but what is between `end` and `again`."""
    digest = hashlib.sha256()
    file.seek(0)
    left = end
    while left and (part := file.read(min(_STEP, left))):
        digest.update(part)
        left -= len(part)
    file.seek(again)
    while part := file.read(_STEP):
        digest.update(part)
    return digest.digest()
