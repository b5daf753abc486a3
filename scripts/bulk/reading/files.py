"""Pictures of a folder or of a bucket's prefix, with their sidecars."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol

from clipserve_client.sources.files import Skip, read, stamp
from clipserve_client.sources.sidecars import MOST_BYTES as MOST_TEXT
from clipserve_client.sources.sidecars import Listing, about_of, names_beside
from clipserve_client.sources.walking import readable
from scripts.bulk.output.run_folder import Output
from scripts.bulk.reading.items import Bad, Raw, caption_in, text_alone, without_picture
from scripts.bulk.reading.places import THREADS, fetched_bytes, is_the_disks, unless_all_vanished, until_refused
from scripts.bulk.reading.stores import Stores
from scripts.bulk.shards.errors import Away
from scripts.bulk.shards.shard import Shard
from scripts.sync.ahead import ahead
from scripts.sync.bucket import is_url

_NO_CAPTION = "there is no caption beside the picture"
Json = dict[str, Any]


class FileReader:
    """Those that `output` lists for a shard. `embed` as in `BulkJob`: for texts alone no picture is read."""

    def __init__(self, output: Output, stores: Stores, embed: str) -> None:
        self._output, self._stores, self._embed = output, stores, embed

    def items(self, shard: Shard) -> Iterator[Raw | Bad]:
        """Raises Away, SourceError and OSError."""
        listed = self._output.read_files(shard)
        if is_url(shard.path):
            fs, root = self._stores.opened(shard.path)
            place = root.rstrip("/")
            read = ahead(listed, lambda each: _item(_RemoteFile(fs, place, each), self._embed), THREADS)
            return unless_all_vanished(until_refused(read), shard.path)
        if not os.path.isdir(shard.path):
            raise Away(f"{shard.path} is no folder (any more): is its disk mounted?")
        local = (_item(_LocalFile(shard.path, each["name"]), self._embed) for each in listed)
        return unless_all_vanished(local, shard.path)


class _PictureFile(Protocol):
    """Each method raises Away where the disk or the bucket fails."""

    name: str

    def content(self) -> bytes:
        """Raises Skip."""
        ...

    def facts(self) -> Json:
        """What stands beside it."""
        ...

    def check(self) -> None:
        """Raises Skip where it is not there."""
        ...


def _item(file: _PictureFile, embed: str) -> Raw | Bad:
    """Raises Away."""
    try:
        content = None if embed == "text" else file.content()
    except Skip as skip:
        fault = Bad(file.name, skip.reason, skip.message)
        return without_picture(fault, embed, file.facts() if embed == "both" else {})
    told = file.facts()
    return _text_alone(file, told) if embed == "text" else Raw(file.name, content, caption_in(told), told)


def _text_alone(file: _PictureFile, told: Json) -> Raw | Bad:
    try:
        if caption_in(told) is None:
            file.check()
    except Skip as skip:
        return Bad(file.name, skip.reason, skip.message)
    return text_alone(file.name, told, _NO_CAPTION)


class _LocalFile:
    def __init__(self, root: str, name: str) -> None:
        self._path, self.name = os.path.join(root, name), readable(name)

    def content(self) -> bytes:
        with _disks(self._path):
            return read(self._path)[0]

    def facts(self) -> Json:
        return about_of(self.name, Listing(os.devnull), self._beside).metadata

    def check(self) -> None:
        with _disks(self._path):
            stamp(self._path)

    def _beside(self, kind: str) -> tuple[str, bytes | None] | None:
        """Its content is None for one that is empty, too long or may not be read."""
        found = next((name for name in names_beside(self._path, kind) if os.path.isfile(name)), None)
        if found is None:
            return None
        try:
            with _disks(found):
                return found, read(found, MOST_TEXT)[0]
        except Skip:
            return found, None


@contextmanager
def _disks(path: str) -> Iterator[None]:
    """A disk's failures as Away."""
    try:
        yield
    except Skip as skip:
        if is_the_disks(skip.__cause__):
            raise Away(f"{path} can't be read: {skip.message}") from skip
        raise


class _RemoteFile:
    """`listed`: its name below `root`, and those of its sidecars."""

    def __init__(self, fs: Any, root: str, listed: Mapping[str, str]) -> None:
        self._fs, self._root, self.name = fs, root, listed["name"]
        self._beside = {kind: name for kind, name in listed.items() if kind.startswith(".")}

    def content(self) -> bytes:
        return fetched_bytes(self._fs, f"{self._root}/{self.name}")

    def facts(self) -> Json:
        beside = {kind: (name, self._sidecar(name)) for kind, name in self._beside.items()}
        return about_of(self.name, Listing(os.devnull), beside.get).metadata

    def check(self) -> None:
        """Where a sidecar was listed, and none came: without one, there never was a caption."""
        if self._beside and not self._fs.exists(f"{self._root}/{self.name}"):
            raise Skip("vanished")

    def _sidecar(self, name: str) -> bytes | None:
        """None for one that is empty, too long or not there: its picture is read all the same. Raises Away."""
        try:
            content = fetched_bytes(self._fs, f"{self._root}/{name}")
        except Skip:
            return None
        return content if len(content) <= MOST_TEXT else None
