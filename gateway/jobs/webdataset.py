"""A webdataset tar: neighbouring members with the same key are one sample (https://github.com/webdataset/webdataset)."""

from __future__ import annotations

import itertools
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from clip_core.errors import BadInput, ClipServeError
from gateway.jobs.entries import SUFFIXES, Entry, Wanted, image_item, too_large

_MAX_TEXT = 1 << 20


class Webdataset:
    """`KEY.jpg` (or another picture) with `KEY.json` as metadata and `KEY.txt` as its caption; the id is the key."""

    def __init__(self, path: Path, max_bytes: int) -> None:
        self._path, self._max_bytes = path, max_bytes

    def count(self) -> None:
        """Only reading the whole tar would tell."""
        return

    def entries(self, wanted: Wanted) -> Iterator[Entry]:
        """Raises BadInput when the tar itself is damaged."""
        try:
            with tarfile.open(self._path, "r:*") as tar:
                files = (member for member in _members(tar) if member.isfile())
                for place, (key, members) in enumerate(itertools.groupby(files, lambda member: _key(member.name))):
                    if wanted(place):
                        yield Entry(place, key, self._item(tar, key, list(members)))
        except (tarfile.TarError, EOFError, OSError) as error:
            raise BadInput(f"the tar can't be read: {error}", param="source.webdataset") from error

    def _item(self, tar: tarfile.TarFile, key: str, members: list[tarfile.TarInfo]) -> dict[str, Any] | ClipServeError:
        parts = {Path(member.name).suffix.lower(): member for member in members}
        image = next((member for suffix, member in parts.items() if suffix in SUFFIXES), None)
        if image is None:
            return BadInput("the sample has no picture")
        if image.size > self._max_bytes:
            return too_large(self._max_bytes)
        return image_item(key, _read(tar, image), _metadata(tar, parts))


def _members(tar: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """In the order of the file. A TarFile would keep each of them, a kilobyte a member."""
    while (member := tar.next()) is not None:
        tar.members.clear()  # type: ignore[attr-defined]
        yield member


def _key(name: str) -> str:
    """The path up to the first dot of its last part."""
    folder, slash, last = name.rpartition("/")
    return folder + slash + last.partition(".")[0]


def _metadata(tar: tarfile.TarFile, parts: dict[str, tarfile.TarInfo]) -> dict[str, Any]:
    metadata: dict[str, Any] = {}
    if (caption := parts.get(".txt")) and caption.size <= _MAX_TEXT:
        metadata["caption"] = _read(tar, caption).decode("utf-8", "replace").strip()
    if (facts := parts.get(".json")) and facts.size <= _MAX_TEXT:
        try:
            said = json.loads(_read(tar, facts))
        except ValueError:
            said = None
        metadata |= said if isinstance(said, dict) else {}
    return metadata


def _read(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = tar.extractfile(member)
    return file.read() if file else b""
