"""A webdataset tar: neighbouring members with the same key are one sample (https://github.com/webdataset/webdataset)."""

from __future__ import annotations

import lzma
import os
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, Literal, NamedTuple

from clipserve_client.sources.entries import Entries, Entry, Loaded, SourceError
from clipserve_client.sources.files import MOST_BYTES, Skip, Stamp, stamp, too_large
from clipserve_client.sources.json_values import carried, read_object
from clipserve_client.sources.sidecars import MOST_BYTES as MOST_TEXT
from clipserve_client.sources.sidecars import caption_of
from clipserve_client.sources.walking import SUFFIXES, readable

_CHUNK = 64 * 1024  # bytes
_DAMAGED_HERE = "it is damaged after the samples until here"
_DAMAGED = (tarfile.TarError, EOFError, OSError, zlib.error, lzma.LZMAError)
Json = dict[str, Any]
Pictures = Literal["required", "optional", "unread"]


class Part(NamedTuple):
    """A member of a sample: `kind` is all that follows the first dot of its name."""

    key: str
    kind: str
    member: tarfile.TarInfo


class Webdataset:
    """`KEY.jpg` (or another picture) with `KEY.json` as metadata and `KEY.txt` as its caption; the id is the key.

    A sample without a picture that can be read is skipped, but loaded without it where pictures are not `required`;
    `fault` says what is wrong with one that is there.
    """

    def __init__(
        self, path: str | os.PathLike[str], *, most_bytes: int = MOST_BYTES, pictures: Pictures = "required"
    ) -> None:
        self._path, self._most_bytes, self._pictures = os.fspath(path), most_bytes, pictures

    def count(self) -> None:
        """Only reading the whole tar would tell."""
        return

    def close(self) -> None:
        """A tar is closed with its iterator."""

    def entries(self) -> Entries:
        """Raises SourceError when the tar itself is damaged."""
        try:
            stamped = stamp(self._path)
            with _opened(self._path) as tar:
                for sample in _samples(tar):
                    yield self._entry(tar, sample[0].key, sample, stamped)
                _check_the_rest(tar)
        except Skip as skip:
            raise SourceError(f"{self._path} can't be read: {skip.reason}") from skip
        except _DAMAGED as error:
            raise self._broken(error) from error

    def _broken(self, error: Exception) -> SourceError:
        return SourceError(f"{self._path} can't be read: {error}")

    def _entry(self, tar: tarfile.TarFile, key: str, parts: list[Part], stamped: Stamp) -> Entry:
        path = os.fsencode(os.path.abspath(self._path))
        return Entry(key, path, lambda: self._load(tar, parts, stamped), lambda: stamped)

    def _load(self, tar: tarfile.TarFile, parts: list[Part], stamped: Stamp) -> Loaded:
        """Raises Skip, or SourceError."""
        try:
            return self._loaded(tar, parts, stamped)
        except _DAMAGED as error:
            raise self._broken(error) from error

    def _loaded(self, tar: tarfile.TarFile, parts: list[Part], stamped: Stamp) -> Loaded:
        content: bytes | None = None
        notes: tuple[str, ...] = ()
        fault: Skip | None = None
        there = any(map(_is_picture, parts))
        if self._pictures == "required" or (self._pictures == "optional" and there):
            try:
                content, notes = self._picture(tar, parts)
            except Skip as skip:
                if self._pictures == "required":
                    raise
                fault = skip
        metadata, more = _metadata(tar, {part.kind: part.member for part in reversed(parts)})
        return Loaded(content, metadata=metadata, notes=notes + more, stamp=stamped, fault=fault)

    def _picture(self, tar: tarfile.TarFile, parts: list[Part]) -> tuple[bytes, tuple[str, ...]]:
        """Its bytes, and notes. Raises Skip."""
        pictures = list(filter(_is_picture, parts))
        if not pictures:
            raise Skip("no picture", f"the sample has {', '.join(_names(parts))}")
        member = pictures[0].member
        if not member.isfile():
            raise Skip("not a file", "the picture is a link or a device")
        if member.size > self._most_bytes:
            raise too_large(self._most_bytes)
        content = _read(tar, member)
        if not content:
            raise Skip("empty file")
        return content, (f"several pictures: {', '.join(_names(pictures))}",) if len(pictures) > 1 else ()


def _opened(path: str) -> tarfile.TarFile:
    """Raises ReadError in words of ours: TarFile's are a line for each way of compression."""
    try:
        return tarfile.open(path, "r:*")
    except tarfile.ReadError as error:
        raise tarfile.ReadError("it is no tar, or damaged at its start") from error


def _samples(tar: tarfile.TarFile) -> Iterator[list[Part]]:
    """Each once it is whole: when a part of the next one came, or the end of the archive.

    Raises ReadError for a damaged header: parts of the last sample may be missing.
    """
    sample: list[Part] = []
    for part in filter(None, map(_part, members(tar))):
        if sample and sample[0].key != part.key:
            yield sample
            sample = []
        sample.append(part)
    if not _ends_here(tar):
        raise tarfile.ReadError(_DAMAGED_HERE)
    if sample:
        yield sample


def members(tar: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """In the order of the file, up to its end or a damaged header. A TarFile would keep each, a kilobyte a member."""
    while (member := tar.next()) is not None:
        tar.members.clear()  # type: ignore[attr-defined]
        yield member


def _ends_here(tar: tarfile.TarFile) -> bool:
    """Whether two blocks of zeros follow, or the file's end, as archives end. A single one is a damaged header."""
    with suppress(*_DAMAGED):
        return not next(_rest(tar, 2 * tarfile.BLOCKSIZE), b"").strip(b"\0")
    return True


def _check_the_rest(tar: tarfile.TarFile) -> None:
    """Raises what is wrong after the end of the archive: ReadError for anything but zeros."""
    if any(piece.strip(b"\0") for piece in _rest(tar, _CHUNK)):
        raise tarfile.ReadError(_DAMAGED_HERE)


def _rest(tar: tarfile.TarFile, size: int) -> Iterator[bytes]:
    """What follows the last member, in pieces of `size`."""
    if tar.fileobj is not None:
        tar.fileobj.seek(tar.offset)
        while piece := tar.fileobj.read(size):
            yield piece


def _part(member: tarfile.TarInfo) -> Part | None:
    """None for folders, and for hidden members, as macOS puts beside others (`._a.jpg`)."""
    folder, slash, last = member.name.removeprefix("./").rpartition("/")
    stem, _, kind = last.partition(".")
    if member.isdir() or not stem:
        return None
    return Part(readable(folder + slash + stem), kind.lower(), member)


def _is_picture(part: Part) -> bool:
    return f".{part.kind}" in SUFFIXES


def _names(parts: list[Part]) -> list[str]:
    return [readable(part.kind)[:40] or "no suffix" for part in parts[:5]]


def _metadata(tar: tarfile.TarFile, parts: dict[str, tarfile.TarInfo]) -> tuple[Json, tuple[str, ...]]:
    caption, notes = _caption(tar, parts.get("txt"))
    told, more = _facts(tar, parts.get("json"))
    return {**caption, **told}, notes + more


def _caption(tar: tarfile.TarFile, member: tarfile.TarInfo | None) -> tuple[Json, tuple[str, ...]]:
    if member is None:
        return {}, ()
    text = caption_of(_short(tar, member))
    return ({}, ("caption not read",)) if text is None else ({"caption": text} if text else {}, ())


def _facts(tar: tarfile.TarFile, member: tarfile.TarInfo | None) -> tuple[Json, tuple[str, ...]]:
    if member is None:
        return {}, ()
    told = read_object(_short(tar, member) or b"")
    return ({}, ("metadata not read",)) if told is None else carried(told)


def _short(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes | None:
    return _read(tar, member) if member.isfile() and member.size <= MOST_TEXT else None


def _read(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = tar.extractfile(member)
    content = file.read() if file else b""
    if len(content) < member.size:
        raise tarfile.ReadError("it ends in the middle of a sample")
    return content
