"""One sync of a source into a collection at a time on this machine."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

from clipserve_client import settings
from clipserve_client.sources.planning import digest
from scripts.locking import only_here
from scripts.sync.bucket import is_url
from scripts.sync.errors import SyncRunning


@contextmanager
def only_one(url: str, collection: str, source: str) -> Iterator[None]:
    """Raises SyncRunning. Where the cache can't be written nothing is locked: two syncs do no harm, only more work."""
    named = f"{url} {collection} {_one_name(source)}".encode("utf-8", "surrogateescape")
    path = settings.cache_folder() / f"sync-{digest(named)[:16]}.lock"
    refusal = SyncRunning(f"another process syncs {source} with {collection}: let it end, or stop it")
    with ExitStack() as stack:
        with suppress(OSError):
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            stack.enter_context(only_here(path, refusal))
        yield


def _one_name(source: str) -> str:
    """A folder is the same by whatever way it is named."""
    path = source.removeprefix("file://")
    return source if is_url(path) else os.path.realpath(path)
