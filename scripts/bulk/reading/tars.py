"""Samples of webdataset tars; one of a bucket is copied to this machine while it is read."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from clipserve_client.ingest.results import Result
from clipserve_client.sources.entries import Entry, SourceError, SourceGone
from clipserve_client.sources.files import Skip
from clipserve_client.sources.webdataset import Webdataset
from scripts.bulk.reading.items import Bad, Raw, caption_in
from scripts.bulk.reading.places import require_file
from scripts.bulk.shards.errors import Away
from scripts.bulk.shards.shard import Shard
from scripts.sync.bucket import fetched, is_url


class TarReader:
    def __init__(self, storage: Mapping[str, Any]) -> None:
        self._storage = storage

    def items(self, shard: Shard) -> Iterator[Raw | Bad]:
        """Raises SourceError and Away."""
        with _here(shard, self._storage) as path:
            for entry in Webdataset(path).entries():
                yield Bad(entry.id, entry.code, entry.message) if isinstance(entry, Result) else _sample(entry)


def _sample(entry: Entry) -> Raw | Bad:
    try:
        loaded = entry.load()
    except Skip as skip:
        return Bad(entry.id, skip.reason, skip.message)
    return Raw(entry.id, loaded.content, caption_in(loaded.metadata), loaded.metadata)


@contextmanager
def _here(shard: Shard, storage: Mapping[str, Any]) -> Iterator[str]:
    """A path on this machine. Raises SourceError and Away."""
    if not is_url(shard.path):
        require_file(shard.path)
        yield shard.path
        return
    with tempfile.TemporaryDirectory(prefix="clipserve-bulk-") as folder:
        yield _copied(shard, storage, Path(folder))


def _copied(shard: Shard, storage: Mapping[str, Any], folder: Path) -> str:
    """Raises SourceError, Away."""
    try:
        copy = fetched(shard.path, storage, folder)
    except SourceGone:
        raise SourceError(f"{shard.path} is gone", "vanished") from None
    except SourceError as error:
        raise Away(error.message) from error
    came, there = copy.stat().st_size, int(shard.version.partition(" ")[0])
    if came != there:
        raise Away(f"{shard.path} changes or is cut off: {came:,} of {there:,} bytes came")
    return str(copy)
