"""What the command names → the folders and files that are read: patterns, folders of tars or of Parquet files."""

from __future__ import annotations

import glob
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from clipserve_client.sources.entries import SourceGone
from clipserve_client.sources.walking import is_picture
from scripts.bulk.shards.errors import BulkRefused
from scripts.sync.bucket import failures, is_url, opened

TARS = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
PARQUETS = (".parquet", ".pq")
LINES = (".txt", ".jsonl", ".urls")
_DATA = (*TARS, *PARQUETS, *LINES)
_KINDS = "folder, .tar, .parquet, .txt or .jsonl"


def found(source: str, storage: Mapping[str, Any]) -> list[str]:
    """A pattern's folders and files; the tars or Parquet files of a folder that has only such; or the source itself.

    Raises SourceError, and BulkRefused for what is no source.
    """
    if is_url(source):
        return _found_afar(source, storage)
    if os.path.isdir(source):
        inside = [os.path.join(source, name) for name in sorted(os.listdir(source))]
        return [os.path.abspath(path) for path in _data_files(inside) or [source]]
    if not os.path.exists(source) and glob.has_magic(source):
        matches = sorted(glob.glob(source, recursive=True))
        return _found_of(source, matches, set(filter(os.path.isdir, matches)), storage)
    if not os.path.exists(source):
        raise SourceGone(f"there is no folder or file {source}")
    if not source.lower().endswith(_DATA):
        raise BulkRefused(f"{source} is no {_KINDS}")
    return [os.path.abspath(source)]


def _found_afar(source: str, storage: Mapping[str, Any]) -> list[str]:
    scheme = source.partition("://")[0]
    fs, path = opened(source, storage)
    if glob.has_magic(path):
        with failures(source):
            matches = {f"{scheme}://{each.lstrip('/')}": info for each, info in fs.glob(path, detail=True).items()}
        folders = {each for each, info in matches.items() if info.get("type") == "directory"}
        return _found_of(source, sorted(matches), folders, storage)
    if source.lower().endswith(_DATA):
        return [source]
    with failures(source):
        names = [f"{scheme}://{each.lstrip('/')}" for each in sorted(fs.ls(path, detail=False))]
    return _data_files(names) or [source.rstrip("/")]


def _found_of(pattern: str, matches: Sequence[str], folders: set[str], storage: Mapping[str, Any]) -> list[str]:
    """What a pattern's matches lead to. Raises SourceError, BulkRefused."""
    sources = _sources(pattern, matches, folders)
    of_each = (found(path, storage) if path in folders else [_absolute(path)] for path in sources)
    return [path for paths in of_each for path in paths]


def outermost(paths: Collection[str]) -> list[str]:
    """Without folders that lie in a folder of pictures which is there as well, and is read whole."""
    whole = {path for path in paths if not path.lower().endswith(_DATA)}
    return [path for path in paths if whole.isdisjoint(_above(path)) or path not in whole]


def _above(path: str) -> Iterator[str]:
    while (parent := path.rpartition("/")[0]) and parent != path:
        yield parent
        path = parent


def _absolute(path: str) -> str:
    return path if is_url(path) else os.path.abspath(path)


def _sources(pattern: str, matches: Sequence[str], folders: set[str]) -> list[str]:
    """What a pattern matches, without files that are no sources. Raises SourceGone, BulkRefused."""
    if not matches:
        raise SourceGone(f"no file matches {pattern}")
    picture = next((path for path in matches if path not in folders and is_picture(path)), None)
    if picture is not None:
        raise BulkRefused(f"{pattern} matches pictures, such as {picture}: name their folder instead")
    sources = [path for path in matches if path in folders or path.lower().endswith(_DATA)]
    if not sources:
        raise BulkRefused(f"{pattern} matches no {_KINDS}")
    return sources


def _data_files(names: Sequence[str]) -> list[str]:
    """Tars, else Parquet files: a folder of those is a data set. Not so where pictures stand beside them."""
    if any(map(is_picture, names)):
        return []
    of_each = ([name for name in names if name.lower().endswith(suffixes)] for suffixes in (TARS, PARQUETS))
    return next(filter(None, of_each), [])
