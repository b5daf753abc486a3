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
from clipserve_client.sources.webdataset import Pictures, Webdataset
from scripts.bulk.reading.items import Bad, Raw, caption_in, text_alone, without_picture
from scripts.bulk.reading.places import require_file
from scripts.bulk.shards.errors import Away
from scripts.bulk.shards.shard import Shard
from scripts.sync.bucket import fetched, is_url

_PICTURES: Mapping[str, Pictures] = {"image": "required", "text": "unread", "both": "optional"}


class TarReader:
    """`embed` as in `BulkJob`: for texts alone no picture is read."""

    def __init__(self, storage: Mapping[str, Any], embed: str) -> None:
        self._storage, self._embed = storage, embed

    def items(self, shard: Shard) -> Iterator[Raw | Bad]:
        """Raises SourceError and Away."""
        with _here(shard, self._storage) as path:
            for entry in Webdataset(path, pictures=_PICTURES[self._embed]).entries():
                if isinstance(entry, Result):
                    yield Bad(entry.id, entry.code, entry.message)
                else:
                    yield _sample(entry, self._embed)


def _sample(entry: Entry, embed: str) -> Raw | Bad:
    try:
        loaded = entry.load()
    except Skip as skip:
        return Bad(entry.id, skip.reason, skip.message)
    if embed == "text":
        return text_alone(entry.id, loaded.metadata, "the sample has no caption")
    if loaded.fault is not None:
        fault = Bad(entry.id, loaded.fault.reason, loaded.fault.message)
        return without_picture(fault, embed, loaded.metadata)
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
