"""Rows of a Parquet file: pictures as bytes, by URL or by path, and texts; the other columns are metadata."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

from clipserve_client.sources.entries import SourceError
from clipserve_client.sources.files import Skip, read
from clipserve_client.sources.json_values import carried, read_object
from clipserve_client.sources.parquet_columns import as_json, is_plain, plain_column
from clipserve_client.sources.parquet_values import as_id, as_picture, as_text, is_url
from scripts.bulk.reading.items import Bad, Raw
from scripts.bulk.reading.parquet_file import FarFile, missing_columns, opened_parquet
from scripts.bulk.reading.places import THREADS, fetched_bytes, is_the_disks, require_file, until_refused, why
from scripts.bulk.reading.stores import Stores
from scripts.bulk.reading.urls import Fetcher
from scripts.bulk.shards.errors import Away
from scripts.bulk.shards.shard import UNCUT, Shard
from scripts.sync.ahead import ahead
from scripts.sync.bucket import is_url as is_remote

_ROWS = 64  # at a time
_BY_PIECES = {"pre_buffer": False, "buffer_size": 4 * 1024 * 1024}  # a row group may hold all pictures of a file
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
                if missing := missing_columns(shard.path, file.schema_arrow.names, self._embed):
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
        """Those that are read: pictures as bytes or structs, texts, and what may be metadata."""
        from pyarrow import types

        wanted = [field.name for field in schema if is_plain(field.type)]
        for name in ("id", "key") if self._embed == "text" else ("image", "id", "key"):
            at = schema.get_field_index(name)
            if at >= 0 and name not in wanted and (name == "image" or types.is_binary(schema.field(at).type)):
                wanted.append(name)
        return wanted

    def _row(self, name: str, row: Json, base: str) -> Raw | Bad:
        item_id = as_id(row.pop("id", None)) or as_id(row.pop("key", None)) or name
        try:
            return self._of_row(item_id, row, base)
        except Skip as skip:
            if is_the_disks(skip.__cause__):
                raise Away(f"{item_id} can't be read: {skip.message}") from skip
            return Bad(item_id, skip.reason, skip.message)

    def _of_row(self, item_id: str, row: Json, base: str) -> Raw:
        """Raises Skip."""
        image, url, path = row.pop("image", None), as_text(row.pop("url", None), "url"), row.pop("path", None)
        texts = [as_text(row.pop(name, None), name) for name in ("text", "caption")]
        text = next((each for each in texts if each and each.strip()), None)
        metadata = _metadata(row)
        if self._embed == "text":
            image = None
        picture = as_picture(image)
        if isinstance(picture, bytes):
            return Raw(item_id, picture, text, metadata)
        address = next((each for each in (picture, url, path) if is_url(each)), None)
        file = path if isinstance(path, str) and path and address is None else None
        told = {**({"url": address} if address else {}), **({"file": file} if file else {}), **metadata}
        if self._embed != "text" and (address or file):  # one page that is away is one row's fault, unlike a bucket
            content = self._fetcher.fetch(address) if address else self._file_of(file or "", base)
            return Raw(item_id, content, text, told)
        if text:
            return Raw(item_id, None, text, told)
        raise Skip("nothing to embed", f"the row has no {'text' if self._embed == 'text' else 'picture and no text'}")

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


def _numbered(file: Any, shard: Shard, names: list[str]) -> Iterator[tuple[str, Json]]:
    """`FILE#ROW` and the row, of the shard's row groups."""
    number, name = shard.first, os.path.basename(shard.path)
    for group in range(shard.start, min(shard.end, file.num_row_groups)):
        for batch in file.iter_batches(_ROWS, [group], names):
            columns = {each: plain_column(batch.column(each)) for each in batch.schema.names}
            for at in range(batch.num_rows):
                yield f"{name}#{number}", {each: column[at] for each, column in columns.items()}
                number += 1


def _metadata(row: Json) -> Json:
    inner = row.pop("metadata", None)
    told = read_object(inner) if isinstance(inner, str | bytes) else None
    given = {name: as_json(value) for name, value in row.items() if value is not None}
    return carried({**given, **(told or {})})[0]
