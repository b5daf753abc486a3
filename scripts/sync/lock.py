"""One sync of a source into a collection at a time on this machine."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from clipserve_client import settings
from clipserve_client.sources.planning import digest
from scripts.sync.errors import SyncRunning


@contextmanager
def only_one(url: str, collection: str, source: str) -> Iterator[None]:
    """Raises SyncRunning. Where the cache can't be written nothing is locked: two syncs do no harm, only more work."""
    import fcntl

    path = settings.cache_folder() / f"sync-{digest(f'{url} {collection} {source}'.encode())[:16]}.lock"
    file = _opened(path)
    if file is None:
        yield
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(file)
        raise SyncRunning(f"another process syncs {source} with {collection}: let it end, or stop it") from None
    try:
        yield
    finally:
        os.close(file)


def _opened(path: Path) -> int | None:
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError:
        return None
