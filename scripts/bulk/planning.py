"""Sources → shards. How a source was cut is kept, so that every later run cuts it the same way."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from typing import IO, Any, NamedTuple

from clipserve_client.ingest.results import Result
from clipserve_client.sources.entries import SourceError
from clipserve_client.sources.files import MOST_BYTES, Skip, stamp, too_large
from clipserve_client.sources.sidecars import names_beside
from clipserve_client.sources.spool import Spool
from clipserve_client.sources.walking import Found, Walk
from scripts.bulk.finding import LINES, PARQUETS, TARS, found, outermost
from scripts.bulk.output.run_folder import Output
from scripts.bulk.reading.parquet_file import missing_columns, opened_parquet
from scripts.bulk.reading.stores import Stores
from scripts.bulk.shards.errors import Away, BulkRefused
from scripts.bulk.shards.shard import UNCUT, Kind, Shard
from scripts.sync.ahead import ahead
from scripts.sync.bucket import Bucket, failures, version_of
from scripts.sync.bucket import is_url as is_remote

_BROKEN_LINK = "vanished or broken link"
_LEFT_OUT = ("unreadable folder", _BROKEN_LINK, "not a file")  # the others are no pictures
_NOTHING = "tars or Parquet files in its subfolders are named by a pattern, such as 'FOLDER/**/*.tar'"
_THREADS = 16
Json = dict[str, Any]


class Planner:
    """`items`: about how many a shard has, where it can be chosen; `embed` as in `BulkJob`."""

    def __init__(self, output: Output, storage: Mapping[str, Any], items: int, embed: str) -> None:
        self._output, self._storage, self._items, self._embed = output, storage, items, embed
        self._stores, self._known = Stores(storage), list[Shard]()
        self.left_out: list[LeftOut] = []  # of folders: what could not be listed, so is in no shard

    def plan(self, sources: Sequence[str]) -> list[Shard]:
        """All shards of the run: those of earlier runs with what is there now, then those that are new.

        Raises SourceError, and BulkRefused for what is no source.
        """
        known = {shard.where: shard for shard in self._output.read_shards()}
        self._known, shards, seen = list(known.values()), list(known.values()), set[tuple[str, str, int]]()
        with closing(self._files_of(shards)) as planned:
            for part in self._found(sources, planned):
                seen.add(part.where)
                before = known.get(part.where)
                if before is None:
                    shards.append(self._numbered(part, len(shards)))
                elif isinstance(part, Shard) and before != replace(part, number=before.number):
                    shards[before.number] = replace(part, number=before.number)
        if not shards and not self.left_out:
            raise BulkRefused(f"there is nothing to encode in {', '.join(sources)}: {_NOTHING}")
        _empty_stale(shards, seen)
        self._output.write_shards(shards)
        return shards

    def _numbered(self, part: _New, number: int) -> Shard:
        if isinstance(part, Shard):
            return replace(part, number=number)
        shard = replace(part.shard, number=number)
        self._output.write_files(shard, part.files)
        return shard

    def _files_of(self, shards: Iterable[Shard]) -> Spool:
        """The files that are in a shard already."""
        planned = Spool()
        for shard, files in self._output.read_all_files(shards):
            planned.add((_key(shard.path, each["name"]), "") for each in files)
        return planned

    def _found(self, sources: Iterable[str], planned: Spool) -> Iterator[_New]:
        each_once = dict.fromkeys(path for source in sources for path in found(source, self._storage))
        paths = outermost(each_once)
        if len(paths) == 1:
            return self._of(paths[0], planned)
        threads = _THREADS if any(map(is_remote, paths)) else 1
        return (part for parts in ahead(paths, lambda path: self._parts(path, planned), threads) for part in parts)

    def _parts(self, path: str, planned: Spool) -> Iterable[_New]:
        """Of a file at once: of thousands in a bucket, several are looked at together. Of a folder one by one."""
        parts = self._of_one_of_many(path, planned)
        return list(parts) if path.lower().endswith((*TARS, *PARQUETS, *LINES)) and not os.path.isdir(path) else parts

    def _of_one_of_many(self, path: str, planned: Spool) -> Iterator[_New]:
        try:
            yield from self._of(path, planned)
        except DamagedFile:
            kind: Kind = "parquet" if path.lower().endswith(PARQUETS) else "lines"
            version = self._version(path)
            cut = [each for each in self._known if (each.kind, each.path, each.version) == (kind, path, version)]
            yield from cut or [Shard(0, kind, path, 0, 1, 0, version + UNCUT)]  # its reader says what is wrong with it

    def _of(self, path: str, planned: Spool) -> Iterator[_New]:
        lower = path.lower()
        if os.path.isdir(path):
            yield from self._of_folder(path, planned)
        elif lower.endswith(TARS):
            yield Shard(0, "tar", path, version=self._version(path))
        elif lower.endswith(PARQUETS):
            yield from self._of_parquet(path)
        elif lower.endswith(LINES):
            yield from self._of_lines(path)
        else:
            yield from self._of_folder(path, planned)

    def _version(self, path: str) -> str:
        if not is_remote(path):
            try:
                return "-".join(map(str, stamp(path)))
            except Skip:
                return ""  # a link to nothing: its reader says so
        fs, inside = self._stores.opened(path)
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
                source = opened_parquet(path, self._stores, stack)
                file = stack.enter_context(parquet.ParquetFile(source))
                rows = [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]
                schema = file.schema_arrow
        except Away as error:
            raise DamagedFile(error.message) from error
        except (ArrowException, OSError, ValueError) as error:
            raise DamagedFile(f"{path} is no readable Parquet file: {' '.join(str(error).split())}") from error
        if missing := missing_columns(path, schema, self._embed):
            raise DamagedFile(missing)
        start = first = count = 0
        for group, number in enumerate(rows):
            count += number
            if count and (count >= self._items or group == len(rows) - 1):
                yield Shard(0, "parquet", path, start, group + 1, first, version)
                start, first, count = group + 1, first + count, 0

    def _of_lines(self, path: str) -> list[Shard]:
        version, shards = self._version(path), list[Shard]()
        _refuse_pipes(path)
        position = start = first = count = 0
        with self._opened(path) as file:
            for line in file:
                position, count = position + len(line), count + 1
                if count - first >= self._items:
                    shards.append(Shard(0, "lines", path, start, position, first, version))
                    start, first = position, count
        if count > first:
            shards.append(Shard(0, "lines", path, start, position, first, version))
        return shards

    @contextmanager
    def _opened(self, path: str) -> Iterator[IO[bytes]]:
        """Raises SourceError, DamagedFile for a file of this machine."""
        if is_remote(path):
            fs, inside = self._stores.opened(path)
            with failures(path), closing(fs.open(inside, "rb")) as file:
                yield file
            return
        try:
            with open(path, "rb") as file:
                yield file
        except OSError as error:
            raise DamagedFile(f"{path} can't be read: {error.strerror}") from error

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
                    if isinstance(listed, Result):
                        continue
                    if bucket.size(listed.file) > MOST_BYTES and self._embed != "text":
                        skip = too_large(MOST_BYTES)
                        self.left_out.append(LeftOut(listed.file, skip.reason, skip.message))
                        continue
                    yield {"name": listed.file, **bucket.beside(listed.file)}
            return
        with closing(Walk(path)) as walk:
            for each in walk:
                if not each.skipped or (self._embed == "text" and _has_sidecar(each)):
                    yield {"name": os.path.relpath(each.path, path)}
                elif each.skipped in _LEFT_OUT:
                    self.left_out.append(LeftOut(each.name, each.skipped, each.message))


def _has_sidecar(picture: Found) -> bool:
    """A link to nothing may have a caption, as in a data set whose pictures were not fetched."""
    beside = (*names_beside(picture.path, ".txt"), *names_beside(picture.path, ".json"))
    return picture.skipped == _BROKEN_LINK and any(map(os.path.isfile, beside))


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


def _key(path: str, name: str) -> bytes:
    return f"{path}\0{name}".encode("utf-8", "surrogateescape")
