"""A path → its source: a folder, tars, a Parquet file or a list of URLs, by what is there and how it is named."""

from __future__ import annotations

import glob
import os
from collections.abc import Sequence

from clipserve_client.sources.entries import Entries, Source, SourceError, SourceGone
from clipserve_client.sources.folder import Folder
from clipserve_client.sources.parquet import ParquetRows
from clipserve_client.sources.url_list import UrlList
from clipserve_client.sources.webdataset import Webdataset

_TARS = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")


class Several:
    """Sources one after the other."""

    def __init__(self, sources: Sequence[Source]) -> None:
        self._sources = sources

    def count(self) -> int | None:
        counts = [source.count() for source in self._sources]
        known = [count for count in counts if count is not None]
        return sum(known) if len(known) == len(counts) else None

    def entries(self) -> Entries:
        for source in self._sources:
            yield from source.entries()

    def close(self) -> None:
        for source in self._sources:
            source.close()


def open_path(path: str | os.PathLike[str]) -> Source:
    """Raises SourceGone for what is not there, SourceError for what is no source."""
    name = os.fspath(path)
    if not name:
        raise SourceGone("the path is empty")
    if os.path.isdir(name):
        return Folder(name)
    if not os.path.exists(name) and glob.has_magic(name):
        return _matching(name)
    if not os.path.exists(name):
        raise SourceGone(f"there is no folder or file {name}")
    return _of_file(name)


def _matching(pattern: str) -> Source:
    found = sorted(glob.glob(pattern))
    if not found:
        raise SourceGone(f"no file matches {pattern}")
    return Several([_of_file(name) for name in found])


def _of_file(name: str) -> Source:
    if not os.path.isfile(name):
        raise SourceError(f"{name} is no file but a pipe, a socket or a device: write what it gives to a file first")
    lower = name.lower()
    if lower.endswith(_TARS):
        return Webdataset(name)
    if lower.endswith((".parquet", ".pq")):
        return ParquetRows(name)
    if lower.endswith(".txt"):
        return UrlList(name)
    raise SourceError(f"{name} is no folder, .tar, .parquet or .txt of URLs")
