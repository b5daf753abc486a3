"""One process at a time: a file that is locked while it works. The kernel lets go of it even after `kill -9`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def only_here(path: Path, refusal: Exception, mode: int = 0o600) -> Iterator[None]:
    """Raises `refusal` while another process is here, and OSError where the file can't be made."""
    import fcntl

    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, mode)
    try:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise refusal from None
        yield
    finally:
        os.close(file)
