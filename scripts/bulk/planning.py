"""Sources → shards. How a source was cut is kept, so that every later run cuts it the same way."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, closing
from dataclasses import replace
from typing import Any, NamedTuple

from clipserve_client.ingest.results import Result
from clipserve_client.sources.entries import SourceError, SourceGone
from clipserve_client.sources.files import Skip, stamp
from clipserve_client.sources.spool import Spool
from clipserve_client.sources.walking import SUFFIXES, Walk
from scripts.bulk.output.run_folder import Output
from scripts.bulk.parquet_file import missing_columns, opened_parquet
from scripts.bulk.shards.errors import Away, BulkRefused
from scripts.bulk.shards.shard import Kind, Shard
from scripts.sync.bucket import Bucket, failures, opened, version_of
from scripts.sync.bucket import is_url as is_remote

_TARS = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
_PARQUETS = (".parquet", ".pq")
_LINES = (".txt", ".jsonl", ".urls")
_LEFT_OUT = ("unreadable folder", "vanished or broken link", "not a file")  # the others are no pictures
Json = dict[str, Any]


class Planner:
    """`items`: about how many a shard has, where it can be chosen; `embed` as in `BulkJob`."""

    def __init__(self, output: Output, storage: Mapping[str, Any], items: int, embed: str) -> None:
        self._output, self._storage, self._items, self._embed = output, storage, items, embed
        self.left_out: list[LeftOut] = []  # of folders: what could not be listed, so is in no shard

    def plan(self, sources: Iterable[str]) -> list[Shard]:
        """All shards of the run: those of earlier runs with what is there now, then those that are new.

        Raises SourceError, and BulkRefused for what is no source.
        """
        known = {shard.where: shard for shard in self._output.read_shards()}
        shards, seen = list(known.values()), set[tuple[str, str, int]]()
        with closing(self._files_of(shards)) as planned:
            for found in self._found(sources, planned):
                seen.add(found.where)
                before = known.get(found.where)
                if before is None:
                    shards.append(self._numbered(found, len(shards)))
                elif isinstance(found, Shard) and before != replace(found, number=before.number):
                    shards[before.number] = replace(found, number=before.number)
        _empty_stale(shards, seen)
        self._output.write_shards(shards)
        return shards

    def _numbered(self, found: _New, number: int) -> Shard:
        if isinstance(found, Shard):
            return replace(found, number=number)
        shard = replace(found.shard, number=number)
        self._output.write_files(shard, found.files)
        return shard

    def _files_of(self, shards: Iterable[Shard]) -> Spool:
        """The files that are in a shard already."""
        planned = Spool()
        for shard, files in self._output.read_all_files(shards):
            planned.add((_key(shard.path, each["name"]), "") for each in files)
        return planned

    def _found(self, sources: Iterable[str], planned: Spool) -> Iterator[_New]:
        paths = list(dict.fromkeys(path for source in sources for path in self._expanded(source)))  # each once
        if len(paths) == 1:
            return self._of(paths[0], planned)
        return (found for path in paths for found in self._of_one_of_many(path, planned))

    def _of_one_of_many(self, path: str, planned: Spool) -> Iterator[_New]:
        try:
            yield from self._of(path, planned)
        except DamagedFile:
            kind: Kind = "parquet" if path.lower().endswith(_PARQUETS) else "lines"
            yield Shard(0, kind, path, 0, 1, 0, self._version(path))  # its reader says what is wrong with it

    def _of(self, path: str, planned: Spool) -> Iterator[_New]:
        lower = path.lower()
        if os.path.isdir(path):
            yield from self._of_folder(path, planned)
        elif lower.endswith(_TARS):
            yield Shard(0, "tar", path, version=self._version(path))
        elif lower.endswith(_PARQUETS):
            yield from self._of_parquet(path)
        elif lower.endswith(_LINES):
            yield from self._of_lines(path)
        else:
            yield from self._of_folder(path, planned)

    def _expanded(self, source: str) -> list[str]:
        """A pattern's files; the tars or Parquet files of a folder that has only such; or the source itself."""
        if is_remote(source):
            return self._expanded_afar(source)
        if os.path.isdir(source):
            return _data_files([os.path.join(source, name) for name in sorted(os.listdir(source))]) or [
                os.path.abspath(source)
            ]
        if not os.path.exists(source) and glob.has_magic(source):
            found = sorted(glob.glob(source))
            if not found:
                raise SourceGone(f"no file matches {source}")
            return [os.path.abspath(path) for path in found]
        if not os.path.exists(source):
            raise SourceGone(f"there is no folder or file {source}")
        if not source.lower().endswith((*_TARS, *_PARQUETS, *_LINES)):
            raise BulkRefused(f"{source} is no folder, .tar, .parquet or .txt")
        return [os.path.abspath(source)]

    def _expanded_afar(self, source: str) -> list[str]:
        scheme = source.partition("://")[0]
        fs, path = opened(source, self._storage)
        with failures(source):
            if glob.has_magic(path):
                found = sorted(fs.glob(path))
                if not found:
                    raise SourceGone(f"no file matches {source}")
                return [f"{scheme}://{each.lstrip('/')}" for each in found]
            if source.lower().endswith((*_TARS, *_PARQUETS, *_LINES)):
                return [source]
            names = [f"{scheme}://{each.lstrip('/')}" for each in sorted(fs.ls(path, detail=False))]
        return _data_files(names) or [source.rstrip("/")]

    def _version(self, path: str) -> str:
        if not is_remote(path):
            try:
                return "-".join(map(str, stamp(path)))
            except Skip:
                return ""  # a link to nothing: its reader says so
        fs, inside = opened(path, self._storage)
        with failures(path):
            return version_of(fs.info(inside))

    # What can be cut

    def _of_parquet(self, path: str) -> Iterator[Shard]:
        """Runs of row groups."""
        from pyarrow import ArrowException, parquet

        version = self._version(path)
        _refuse_pipes(path)
        try:
            with ExitStack() as stack:
                source = opened_parquet(path, self._storage, stack)
                file = stack.enter_context(parquet.ParquetFile(source))
                rows = [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]
                names = set(file.schema_arrow.names)
        except Away as error:
            raise DamagedFile(error.message) from error
        except (ArrowException, OSError, ValueError) as error:
            raise DamagedFile(f"{path} is no readable Parquet file: {' '.join(str(error).split())}") from error
        if missing := missing_columns(path, names, self._embed):
            raise DamagedFile(missing)
        start = first = count = 0
        for group, number in enumerate(rows):
            count += number
            if count >= self._items or group == len(rows) - 1:
                yield Shard(0, "parquet", path, start, group + 1, first, version)
                start, first, count = group + 1, first + count, 0

    def _of_lines(self, path: str) -> Iterator[Shard]:
        version = self._version(path)
        _refuse_pipes(path)
        fs, inside = opened(path, self._storage) if is_remote(path) else (None, path)
        position = start = first = count = 0
        with failures(path), closing(fs.open(inside, "rb")) if fs is not None else open(path, "rb") as file:
            for line in file:
                position, count = position + len(line), count + 1
                if count - first >= self._items:
                    yield Shard(0, "lines", path, start, position, first, version)
                    start, first = position, count
            if count > first:
                yield Shard(0, "lines", path, start, position, first, version)

    def _of_folder(self, path: str, planned: Spool) -> Iterator[_NewFiles]:
        files: list[Json] = []
        for listed in self._names(path):
            if planned.get(_key(path, listed["name"])) is None:
                files.append(listed)
            if len(files) == self._items:
                yield _NewFiles(Shard(-1, "files", path), files)
                files = []
        if files:
            yield _NewFiles(Shard(-1, "files", path), files)

    def _names(self, path: str) -> Iterator[Json]:
        if is_remote(path):
            with closing(Bucket(path, self._storage)) as bucket:
                for listed in bucket.entries():
                    if not isinstance(listed, Result):
                        yield {"name": listed.file, **bucket.beside(listed.file)}
            return
        with closing(Walk(path)) as walk:
            for found in walk:
                if not found.skipped:
                    yield {"name": os.path.relpath(found.path, path)}
                elif found.skipped in _LEFT_OUT:
                    self.left_out.append(LeftOut(found.name, found.skipped, found.message))


def _empty_stale(shards: list[Shard], seen: set[tuple[str, str, int]]) -> None:
    """A file that was written anew may be cut elsewhere: what its old shards held is in others now."""
    versions = {(shard.kind, shard.path): shard.version for shard in shards if shard.where in seen}
    for shard in shards:
        version = versions.get((shard.kind, shard.path))
        if version is not None and shard.kind in ("parquet", "lines") and shard.where not in seen:
            shards[shard.number] = replace(shard, end=shard.start, version=version)


def _refuse_pipes(path: str) -> None:
    """Raises DamagedFile for what is there and is no file: a named pipe would be waited for without end."""
    if not is_remote(path) and os.path.lexists(path) and not os.path.isfile(path):
        raise DamagedFile(f"{path} is no file")


class LeftOut(NamedTuple):
    id: str
    code: str
    message: str


class DamagedFile(SourceError):
    """One that stands alone ends the run before it begins; one of several is set aside."""


class _NewFiles:
    """A shard of files that no shard has yet."""

    def __init__(self, shard: Shard, files: list[Json]) -> None:
        self.shard, self.files = shard, files
        self.where: tuple[str, str, int] = ("new files", shard.path, -1)


_New = Shard | _NewFiles


def _data_files(names: list[str]) -> list[str]:
    """Tars, else Parquet files: a folder of those is a data set. Not so where pictures stand beside them."""
    if any(os.path.splitext(name)[1].lower() in SUFFIXES for name in names):
        return []
    for suffixes in (_TARS, _PARQUETS):
        found = [name for name in names if name.lower().endswith(suffixes)]
        if found:
            return [name if is_remote(name) else os.path.abspath(name) for name in found]
    return []


def _key(path: str, name: str) -> bytes:
    return f"{path}\0{name}".encode("utf-8", "surrogateescape")
