"""Pictures of a folder or of a bucket's prefix, with their sidecars."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any

from clipserve_client.sources.files import Skip, read
from clipserve_client.sources.sidecars import MOST_BYTES as MOST_TEXT
from clipserve_client.sources.sidecars import Listing, about, about_of
from clipserve_client.sources.walking import readable
from scripts.bulk.output.run_folder import Output
from scripts.bulk.reading.items import Bad, Raw, caption_in
from scripts.bulk.reading.places import THREADS, fetched_bytes, is_the_disks, unless_all_vanished, until_refused
from scripts.bulk.reading.stores import Stores
from scripts.bulk.shards.errors import Away
from scripts.bulk.shards.shard import Shard
from scripts.sync.ahead import ahead
from scripts.sync.bucket import is_url


class FileReader:
    """Those that `output` lists for a shard."""

    def __init__(self, output: Output, stores: Stores) -> None:
        self._output, self._stores = output, stores

    def items(self, shard: Shard) -> Iterator[Raw | Bad]:
        """Raises Away, SourceError and OSError."""
        listed = self._output.read_files(shard)
        if is_url(shard.path):
            fs, root = self._stores.opened(shard.path)
            read = until_refused(ahead(listed, lambda each: _remote_file(fs, root.rstrip("/"), each), THREADS))
            return unless_all_vanished(read, shard.path)
        if not os.path.isdir(shard.path):
            raise Away(f"{shard.path} is no folder (any more): is its disk mounted?")
        return unless_all_vanished((_local_file(shard.path, each["name"]) for each in listed), shard.path)


def _local_file(root: str, name: str) -> Raw | Bad:
    """Raises Away."""
    path, shown = os.path.join(root, name), readable(name)
    try:
        content, _ = read(path)
    except Skip as skip:
        if is_the_disks(skip.__cause__):
            raise Away(f"{path} can't be read: {skip.message}") from skip
        return Bad(shown, skip.reason, skip.message)
    told = about(path, shown, Listing(os.devnull))
    return Raw(shown, content, caption_in(told.metadata), told.metadata)


def _remote_file(fs: Any, root: str, listed: Mapping[str, str]) -> Raw | Bad:
    name = listed["name"]
    try:
        content = fetched_bytes(fs, f"{root}/{name}")
        beside = {kind: (at, _fetched_sidecar(fs, f"{root}/{at}")) for kind, at in listed.items() if kind[0] == "."}
    except Skip as skip:
        return Bad(name, skip.reason, skip.message)
    told = about_of(name, Listing(os.devnull), beside.get)
    return Raw(name, content, caption_in(told.metadata), told.metadata)


def _fetched_sidecar(fs: Any, path: str) -> bytes | None:
    """None for one that is empty, too long or not there: its picture is read all the same. Raises Away."""
    try:
        content = fetched_bytes(fs, path)
    except Skip:
        return None
    return content if len(content) <= MOST_TEXT else None
