"""A shard → its items, read but not decoded; what can't be read has its code."""

from __future__ import annotations

import os
import tempfile
from codecs import BOM_UTF8
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

from clipserve_client.ingest.results import Result
from clipserve_client.sources.entries import Entry, SourceError, SourceGone
from clipserve_client.sources.files import Skip, read
from clipserve_client.sources.json_values import carried, is_text, read_object
from clipserve_client.sources.parquet_columns import as_json, is_plain, plain_column
from clipserve_client.sources.parquet_values import as_id, as_picture, as_text, is_url
from clipserve_client.sources.sidecars import MOST_BYTES as MOST_TEXT
from clipserve_client.sources.sidecars import Listing, about, about_of
from clipserve_client.sources.walking import readable
from clipserve_client.sources.webdataset import Webdataset
from scripts.bulk.job import BulkJob
from scripts.bulk.output.run_folder import Output
from scripts.bulk.parquet_file import FarFile, missing_columns, opened_parquet
from scripts.bulk.shards.errors import Away
from scripts.bulk.shards.shard import Shard
from scripts.bulk.urls import Fetcher
from scripts.sync.ahead import ahead
from scripts.sync.bucket import fetched, opened
from scripts.sync.bucket import is_url as is_remote

_THREADS = 16  # of pictures that are read from afar
_ROWS = 64  # of a Parquet file, at a time
_NO_ADDRESS = ("ValueError", "ParamValidationError")  # the last is botocore's, of what was not even asked for
Json = dict[str, Any]


class Raw(NamedTuple):
    """`content` is a picture, `text` a text or a picture's caption."""

    id: str
    content: bytes | None
    text: str | None
    metadata: Json


class Bad(NamedTuple):
    id: str
    code: str
    message: str


class ShardReader:
    """The sources of a job."""

    def __init__(self, output: Output, job: BulkJob) -> None:
        self._output, self._storage, self._texts, self._embed = output, job.storage, job.texts, job.embed
        self._fetcher = Fetcher(_THREADS)

    def items(self, shard: Shard) -> Iterator[Raw | Bad]:
        """In a fixed order. Raises SourceError where the shard is damaged from there on, and Away."""
        read = {"files": self._files, "tar": self._tar, "parquet": self._parquet, "lines": self._lines}[shard.kind]
        try:
            yield from read(shard)
        except OSError as error:
            raise Away(f"{shard.path} can't be read: {_why(error)}") from error

    # Files of a folder or a bucket

    def _files(self, shard: Shard) -> Iterator[Raw | Bad]:
        listed = self._output.read_files(shard)
        if is_remote(shard.path):
            fs, root = opened(shard.path, self._storage)
            return ahead(listed, lambda each: _remote_file(fs, root.rstrip("/"), each), _THREADS)
        if not os.path.isdir(shard.path):
            raise Away(f"{shard.path} is no folder (any more): is its disk mounted?")
        return (_local_file(shard.path, each["name"]) for each in listed)

    # webdataset tars

    def _tar(self, shard: Shard) -> Iterator[Raw | Bad]:
        with self._here(shard) as path:
            for entry in Webdataset(path).entries():
                if isinstance(entry, Result):
                    yield Bad(entry.id, entry.code, entry.message)
                    continue
                yield _entry(entry)

    def _here(self, shard: Shard) -> _Here:
        return _Here(shard, self._storage)

    # Parquet

    def _parquet(self, shard: Shard) -> Iterator[Raw | Bad]:
        base = os.path.dirname(shard.path)
        return ahead(self._rows(shard), lambda row: self._row(row[0], row[1], base), _THREADS)

    def _rows(self, shard: Shard) -> Iterator[tuple[str, Json]]:
        from pyarrow import ArrowException, parquet

        source: str | FarFile = shard.path
        if not is_remote(shard.path):
            _require_file(shard.path)
        try:
            with ExitStack() as stack:
                source = opened_parquet(shard.path, self._storage, stack)
                file = stack.enter_context(parquet.ParquetFile(source))
                if missing := missing_columns(shard.path, file.schema_arrow.names, self._embed):
                    raise SourceError(missing)
                names = _columns(file.schema_arrow)
                number = shard.first
                groups = list(range(shard.start, min(shard.end, file.num_row_groups)))
                for batch in (each for group in groups for each in file.iter_batches(_ROWS, [group], names)):
                    columns = {name: plain_column(batch.column(name)) for name in batch.schema.names}
                    for at in range(batch.num_rows):
                        yield f"{os.path.basename(shard.path)}#{number}", {n: c[at] for n, c in columns.items()}
                        number += 1
        except FileNotFoundError as error:
            raise SourceError(f"{shard.path} is gone", "vanished") from error
        except (ArrowException, OSError, ValueError) as error:
            if isinstance(source, FarFile) and source.failed:
                raise Away(f"{shard.path} can't be read: {source.failed}") from error
            raise SourceError(f"{shard.path} is damaged: {_why(error)}") from error

    def _row(self, name: str, row: Json, base: str) -> Raw | Bad:
        item_id = as_id(row.pop("id", None)) or as_id(row.pop("key", None)) or name
        try:
            return self._of_row(item_id, row, base)
        except Skip as skip:
            return Bad(item_id, skip.reason, skip.message)

    def _of_row(self, item_id: str, row: Json, base: str) -> Raw:
        """Raises Skip."""
        image, url, path = row.pop("image", None), as_text(row.pop("url", None), "url"), row.pop("path", None)
        text = as_text(row.pop("text", None), "text") or as_text(row.pop("caption", None), "caption")
        metadata = _metadata(row)
        picture = as_picture(image)
        if isinstance(picture, str):
            url = picture
        if isinstance(picture, bytes):
            return Raw(item_id, picture, text, metadata)
        if is_url(url):
            return Raw(item_id, self._fetcher.fetch(url), text, {"url": url, **metadata})
        if is_url(path):  # no bucket: one page that is away is one row's fault
            return Raw(item_id, self._fetcher.fetch(path), text, {"url": path, **metadata})
        if isinstance(path, str) and path:
            return Raw(item_id, self._file_of(path, base), text, {"file": path, **metadata})
        if text:
            return Raw(item_id, None, text, metadata)
        raise Skip("nothing to embed", "the row has neither a picture, nor a URL, nor a path, nor a text")

    def _file_of(self, path: str, base: str) -> bytes:
        """Relative to the Parquet file, unless it is absolute. Raises Skip."""
        if is_remote(path) or is_remote(base):
            return self._afar(path if is_remote(path) else f"{base}/{path}")
        return read(os.path.join(base, path))[0]

    def _afar(self, address: str) -> bytes:
        """Raises Skip, also for an address of no known kind: it is one row's."""
        try:
            fs, inside = opened(address, self._storage)
        except SourceError as error:
            raise Skip("unreadable", error.message) from error
        return _fetched_bytes(fs, inside)

    # Lines of a text file: texts or URLs

    def _lines(self, shard: Shard) -> Iterator[Raw | Bad]:
        with self._here(shard) as path, open(path, "rb") as file:
            file.seek(shard.start)
            lines = _numbered(file, shard.end, shard.first)
            if self._texts:
                for number, line in lines:
                    yield _text(f"{os.path.basename(shard.path)}#{number}", line)
            else:
                urls = (each for each in lines if not _is_left_out(each[1]))
                yield from ahead(urls, lambda each: self._url(*each), _THREADS)

    def _url(self, number: int, line: bytes) -> Raw | Bad:
        text = line.decode("utf-8-sig", "backslashreplace").strip()
        told = (read_object(text) or {}) if text.startswith("{") else {"url": text}
        url = told.get("url")
        if not is_url(url):
            return Bad(f"line {number}", "not a URL", text[:200])
        given = told.get("metadata")
        metadata, _ = carried({"url": url, **(given if isinstance(given, dict) else {})})
        item_id = (as_id(told.get("id")) or url).encode("utf-8", "backslashreplace").decode()
        try:
            return Raw(item_id, self._fetcher.fetch(url), _caption(metadata), metadata)
        except Skip as skip:
            return Bad(item_id, skip.reason, skip.message)


class _Here:
    """A file on this machine: itself, or a copy of a file of a bucket that goes away again."""

    def __init__(self, shard: Shard, storage: Mapping[str, Any]) -> None:
        self._path, self._version, self._storage = shard.path, shard.version, storage
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    def __enter__(self) -> str:
        if not is_remote(self._path):
            _require_file(self._path)
            return self._path
        self._folder = tempfile.TemporaryDirectory(prefix="clipserve-bulk-")
        try:
            return self._copied(Path(self._folder.name))
        except BaseException:
            self._folder.cleanup()
            raise

    def __exit__(self, *_: object) -> None:
        if self._folder is not None:
            self._folder.cleanup()

    def _copied(self, folder: Path) -> str:
        """Raises SourceError, Away."""
        try:
            copy = fetched(self._path, self._storage, folder)
        except SourceGone:
            raise SourceError(f"{self._path} is gone", "vanished") from None
        except SourceError as error:
            raise Away(error.message) from error
        came, there = copy.stat().st_size, int(self._version.partition(" ")[0])
        if came != there:
            raise Away(f"{self._path} changes or is cut off: {came:,} of {there:,} bytes came")
        return str(copy)


def _require_file(path: str) -> None:
    """Raises SourceError. A named pipe would be waited for without end."""
    if not os.path.exists(path):
        raise SourceError(f"{path} is gone", "vanished")
    if not os.path.isfile(path):
        raise SourceError(f"{path} is no file")


def _local_file(root: str, name: str) -> Raw | Bad:
    path = os.path.join(root, name)
    shown = readable(name)
    try:
        content, _ = read(path)
    except Skip as skip:
        return Bad(shown, skip.reason, skip.message)
    told = about(path, shown, Listing(os.devnull))
    return Raw(shown, content, _caption(told.metadata), told.metadata)


def _remote_file(fs: Any, root: str, listed: Mapping[str, str]) -> Raw | Bad:
    name = listed["name"]
    try:
        content = _fetched_bytes(fs, f"{root}/{name}")
        beside = {kind: (at, _fetched_sidecar(fs, f"{root}/{at}")) for kind, at in listed.items() if kind[0] == "."}
    except Skip as skip:
        return Bad(name, skip.reason, skip.message)
    told = about_of(name, Listing(os.devnull), beside.get)
    return Raw(name, content, _caption(told.metadata), told.metadata)


def _fetched_sidecar(fs: Any, path: str) -> bytes | None:
    """None for one that is empty, too long or not there: its picture is read all the same. Raises Away."""
    try:
        content = _fetched_bytes(fs, path)
    except Skip:
        return None
    return content if len(content) <= MOST_TEXT else None


def _fetched_bytes(fs: Any, path: str) -> bytes:
    """Raises Skip for what is not there, Away for a store that can't be reached."""
    try:
        content: bytes = fs.cat_file(path)
    except FileNotFoundError:
        raise Skip("vanished") from None
    except PermissionError as error:
        raise Skip("unreadable", _why(error)) from error
    except Exception as error:  # each file system has errors of its own
        if type(error).__name__ in _NO_ADDRESS:
            raise Skip("unreadable", _why(error)) from error
        raise Away(f"{path} can't be read: {_why(error)}") from error
    if not content:
        raise Skip("empty file")
    return content


def _entry(entry: Entry) -> Raw | Bad:
    try:
        loaded = entry.load()
    except Skip as skip:
        return Bad(entry.id, skip.reason, skip.message)
    return Raw(entry.id, loaded.content, _caption(loaded.metadata), loaded.metadata)


def _caption(metadata: Json) -> str | None:
    caption = metadata.get("caption")
    return caption if isinstance(caption, str) and caption else None


def _text(item_id: str, line: bytes) -> Raw | Bad:
    try:
        text = line.decode("utf-8").strip()
    except UnicodeDecodeError:
        return Bad(item_id, "text not read", "the line is not UTF-8")
    return Raw(item_id, None, text, {}) if text and is_text(text) else Bad(item_id, "nothing to embed", "empty line")


def _numbered(file: Any, end: int, first: int) -> Iterator[tuple[int, bytes]]:
    while file.tell() < end and (line := file.readline()):
        yield first, line
        first += 1


def _is_left_out(line: bytes) -> bool:
    """Of a list of URLs, as `clipserve ingest` reads it."""
    return line.removeprefix(BOM_UTF8).lstrip()[:1] in (b"", b"#")


def _columns(schema: Any) -> list[str]:
    """Those that are read: pictures as bytes or structs, texts, and what may be metadata."""
    from pyarrow import types

    wanted = [field.name for field in schema if is_plain(field.type)]
    for name in ("image", "id", "key"):
        at = schema.get_field_index(name)
        if at >= 0 and name not in wanted and (name == "image" or types.is_binary(schema.field(at).type)):
            wanted.append(name)
    return wanted


def _metadata(row: Json) -> Json:
    inner = row.pop("metadata", None)
    told = read_object(inner) if isinstance(inner, str | bytes) else None
    given = {name: as_json(value) for name, value in row.items() if value is not None}
    return carried({**given, **(told or {})})[0]


def _why(error: BaseException) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
