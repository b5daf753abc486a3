"""Rows of a Parquet file: pictures as bytes, by URL or by path, and texts; the other columns are metadata."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any, NamedTuple

from clipserve_client.sources.entries import SourceError
from clipserve_client.sources.files import Skip, read
from clipserve_client.sources.json_values import carried, read_object
from clipserve_client.sources.parquet_columns import as_json, is_plain, is_struct, plain_column
from clipserve_client.sources.parquet_values import as_id, as_picture, as_text, is_url
from scripts.bulk.reading.items import Bad, Raw
from scripts.bulk.reading.parquet_file import PICTURES, TEXTS, FarFile, missing_columns, opened_parquet
from scripts.bulk.reading.places import THREADS, fetched_bytes, is_the_disks, require_file, until_refused
from scripts.bulk.reading.stores import Stores
from scripts.bulk.reading.urls import Fetcher
from scripts.bulk.shards.errors import Away, why
from scripts.bulk.shards.shard import UNCUT, Shard
from scripts.sync.ahead import ahead
from scripts.sync.bucket import is_url as is_remote

_ROWS = 64  # at a time
_BY_PIECES = {"pre_buffer": False, "buffer_size": 4 * 1024 * 1024}  # a row group may hold all pictures of a file
_MISSING = {"image": "picture", "text": "text", "both": "picture and no text"}
Json = dict[str, Any]


class RowReader:
    """`embed` as in `BulkJob`: for texts alone no picture is read."""

    def __init__(self, stores: Stores, embed: str, fetcher: Fetcher) -> None:
        self._stores, self._embed, self._fetcher = stores, embed, fetcher

    def items(self, shard: Shard) -> Iterator[Raw | Bad]:
        """Raises SourceError and Away."""
        base = os.path.dirname(shard.path)
        read = ahead(self._rows(shard), lambda row: self._row(row[0], row[1], base), THREADS)
        return until_refused(read) if is_remote(base) else read

    def _rows(self, shard: Shard) -> Iterator[tuple[str, Json]]:
        from pyarrow import ArrowException, parquet

        source: str | FarFile = shard.path
        if not is_remote(shard.path):
            require_file(shard.path)
        try:
            with ExitStack() as stack:
                source = opened_parquet(shard.path, self._stores, stack)
                by_pieces = {} if isinstance(source, FarFile) else _BY_PIECES  # from afar, many small reads are slow
                file = stack.enter_context(parquet.ParquetFile(source, **by_pieces))
                if missing := missing_columns(shard.path, file.schema_arrow, self._embed):
                    raise SourceError(missing)
                if shard.version.endswith(UNCUT):
                    raise Away(f"{shard.path} could not be read when it was cut: the next run cuts it")
                yield from _numbered(file, shard, self._columns(file.schema_arrow))
        except FileNotFoundError as error:
            raise SourceError(f"{shard.path} is gone", "vanished") from error
        except (ArrowException, OSError, ValueError) as error:
            if isinstance(source, FarFile) and source.failed:
                raise Away(f"{shard.path} can't be read: {source.failed}") from error
            raise SourceError(f"{shard.path} is damaged: {why(error)}") from error

    def _columns(self, schema: Any) -> list[str]:
        """Those that are read: those with a name of ours, whatever their type is, and what may be metadata."""
        names = {"id", "key", *PICTURES, *TEXTS} - ({"image"} if self._embed == "text" else set())
        return [field.name for field in schema if field.name in names or is_plain(field.type)]

    def _row(self, name: str, row: Json, base: str) -> Raw | Bad:
        item_id = as_id(row.pop("id", None)) or as_id(row.pop("key", None)) or name
        try:
            return self._of_row(item_id, row, base)
        except Skip as skip:
            if is_the_disks(skip.__cause__):
                raise Away(f"{item_id} can't be read: {skip.message}") from skip
            return Bad(item_id, skip.reason, skip.message)

    def _of_row(self, item_id: str, row: Json, base: str) -> Raw:
        """An item of both may lack one of the two. Raises Skip where nothing is left to embed."""
        text, text_fault = self._text(row)
        where, picture_fault = self._where(row)
        content = where.content
        if (where.address or where.file) and self._embed != "text":
            try:  # one page that is away is one row's fault, unlike a bucket
                content = self._fetcher.fetch(where.address) if where.address else self._file_of(where.file, base)
            except Skip as skip:
                if is_the_disks(skip.__cause__):
                    raise
                picture_fault = skip
        fault = picture_fault or text_fault
        if not {"image": content, "text": text, "both": content or text}[self._embed]:
            raise fault or Skip("nothing to embed", f"the row has no {_MISSING[self._embed]}")
        told = {**where.told(), **_metadata(row)}
        return Raw(item_id, content, text, told, Bad(item_id, fault.reason, fault.message) if fault else None)

    def _text(self, row: Json) -> tuple[str | None, Skip | None]:
        """Of the first column that has one. Of pictures alone, what is no text is left for their metadata."""
        found, fault = list[str](), list[Skip]()
        for name in TEXTS:
            if self._embed == "image" and not isinstance(row.get(name), str | None):
                continue
            try:
                text = as_text(row.pop(name, None), name)
            except Skip as skip:
                fault.append(skip)
            else:
                found += [text] if text and text.strip() else []
        return (found[0], None) if found else (None, fault[0] if fault else None)

    def _where(self, row: Json) -> tuple[_Where, Skip | None]:
        image, url, path = (row.pop(name, None) for name in PICTURES)
        try:
            return _where(None if self._embed == "text" else image, url, path), None
        except Skip as skip:
            return _Where(), None if self._embed == "text" else skip

    def _file_of(self, path: str, base: str) -> bytes:
        """Relative to the Parquet file, unless it is absolute. Raises Skip."""
        if is_remote(path) or is_remote(base):
            return self._afar(path if is_remote(path) else f"{base}/{path}")
        return read(os.path.join(base, path))[0]

    def _afar(self, address: str) -> bytes:
        """Raises Skip, also for an address of no known kind: it is one row's."""
        try:
            fs, inside = self._stores.opened(address)
        except SourceError as error:
            raise Skip("no address", error.message) from error
        return fetched_bytes(fs, inside)


class _Where(NamedTuple):
    """A row's picture: its bytes, its URL, or its file."""

    content: bytes | None = None
    address: str = ""
    file: str = ""

    def told(self) -> Json:
        """As metadata."""
        return {name: value for name, value in (("url", self.address), ("file", self.file)) if value}


def _where(image: object, url: object, path: object) -> _Where:
    """Raises Skip."""
    picture = as_picture(image)
    if isinstance(picture, bytes):
        return _Where(picture)
    if picture is not None:
        return _Where(address=picture)
    given = (as_text(url, "url"), as_text(path, "path"))
    address = next(filter(is_url, given), None)
    return _Where(file=given[1] or "") if address is None else _Where(address=address)


def _numbered(file: Any, shard: Shard, names: list[str]) -> Iterator[tuple[str, Json]]:
    """`FILE#ROW` and the row, of the shard's row groups."""
    number, name = shard.first, os.path.basename(shard.path)
    for group in range(shard.start, min(shard.end, file.num_row_groups)):
        for batch in file.iter_batches(_ROWS, [group], names):
            columns = {each: _values(each, batch.column(each)) for each in batch.schema.names}
            for at in range(batch.num_rows):
                yield f"{name}#{number}", {each: column[at] for each, column in columns.items()}
                number += 1


def _values(name: str, column: Any) -> list[Any]:
    """Structs are pictures, or what is of no use, which has to be told."""
    return column.to_pylist() if is_struct(column.type) and name != "image" else plain_column(column)


def _metadata(row: Json) -> Json:
    inner = row.pop("metadata", None)
    told = read_object(inner) if isinstance(inner, str | bytes) else None
    given = {name: as_json(value) for name, value in row.items() if value is not None}
    return carried({**given, **(told or {})})[0]
