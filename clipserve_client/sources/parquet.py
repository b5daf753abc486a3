"""A Parquet file: one row an item, the picture in a column of bytes or of Hugging Face's {"bytes", "path"} structs."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from clipserve_client.sources.entries import Entries, Entry, Loaded, SourceError
from clipserve_client.sources.files import MOST_BYTES, Skip, stamp, too_large
from clipserve_client.sources.json_values import carried, read_object, shown
from clipserve_client.sources.parquet_columns import Column, as_json, is_plain, is_struct, plain_column
from clipserve_client.sources.parquet_values import as_id, as_picture, as_text, is_url
from clipserve_client.sources.walking import readable

ROLES = ("id", "image", "text", "url", "caption", "metadata")
_ROWS, _CHECKED_ROWS = 16, 65536  # of a batch
_NAMED = 10  # columns in a note
_BUFFER = 1024 * 1024  # bytes read ahead of a column
Json = dict[str, Any]


class UnknownColumn(SourceError):
    """`role` is the one whose column the file has not; None: it has neither pictures, nor texts, nor URLs."""

    def __init__(self, message: str, role: str | None) -> None:
        super().__init__(message)
        self.role = role


class ParquetRows:
    """`columns` says which hold the roles; other columns of plain values become metadata, and the rest is not read.

    The first item that is loaded has a note with the names of the rest. A row without an id gets the file's name and
    its number.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        columns: Mapping[str, str] | None = None,
        *,
        most_bytes: int = MOST_BYTES,
    ) -> None:
        self._parquet, self._damaged = _pyarrow()
        self._path, self._most_bytes = os.fspath(path), most_bytes
        try:
            self._stamp = stamp(self._path)
            with self._opened() as file:
                self._fields = {field.name: field.type for field in file.schema_arrow}
                self._count = int(file.metadata.num_rows)
        except Skip as skip:
            raise SourceError(f"{self._path} can't be read: {skip.reason}") from skip
        except self._damaged as error:
            raise self._broken("its footer is damaged or missing", error) from error
        self._roles = self._named(columns or {})
        self._not_told = [name for name, kind in self._fields.items() if self._is_left_out(name, kind)]

    def count(self) -> int:
        return self._count

    def close(self) -> None:
        """The file is closed with its iterator."""

    def entries(self) -> Entries:
        """Raises SourceError when the file is damaged further in."""
        plain = [name for name, kind in self._fields.items() if is_plain(kind) and name not in self._roles.values()]
        return self._reading(plain, 0)

    def _opened(self) -> Any:
        """Only while it is read: a data set has hundreds of files."""
        return self._parquet.ParquetFile(self._path, buffer_size=_BUFFER, pre_buffer=False)

    def _is_left_out(self, name: str, kind: Any) -> bool:
        if name in self._roles.values():
            return is_struct(kind) and name != self._roles.get("image")
        return not is_plain(kind)

    def _left_out(self) -> tuple[str, ...]:
        """A note with the columns that were not named in one yet."""
        names, self._not_told = self._not_told, []
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        return (f"columns not read ({', '.join(map(shown, names[:_NAMED]))}{more})",) if names else ()

    def _reading(self, plain: list[str], start: int) -> Entries:
        """From row `start` on; once more without those of the `plain` columns that turn out to be unreadable."""
        done = start
        try:
            for number, row in self._rows(plain, start):
                done = number + 1
                yield self._entry(number, row)
        except self._damaged as error:
            sound = [name for name in plain if self._is_readable(name)]
            if len(sound) == len(plain):
                raise self._broken(f"it is damaged after row {done}", error) from error
        else:
            return
        self._not_told += [name for name in plain if name not in sound]
        yield from self._reading(sound, done)

    def _rows(self, plain: list[str], start: int) -> Iterator[tuple[int, Column]]:
        """Group by group: a batch across two of them would be lost with the second."""
        columns, first = [*self._roles.values(), *plain], 0
        with self._opened() as file:
            for group in range(file.num_row_groups):
                end = first + file.metadata.row_group(group).num_rows
                if end > start:
                    yield from self._rows_of(file, group, columns, first, start)
                first = end

    def _rows_of(
        self, file: Any, group: int, columns: list[str], first: int, start: int, batch: int = _ROWS
    ) -> Iterator[tuple[int, Column]]:
        """In batches; once one of them can't be read, row by row, up to the damage itself."""
        done = max(first, start)
        try:
            for number, row in _numbered(file.iter_batches(batch, [group], columns), first, done):
                done = number + 1
                yield number, row
        except self._damaged:
            if batch == 1:
                raise
        else:
            return
        yield from self._rows_of(file, group, columns, first, done, 1)

    def _is_readable(self, name: str) -> bool:
        """Some columns pyarrow can't read at all, such as dictionaries of texts that are not UTF-8."""
        try:
            with self._opened() as file:
                for _ in file.iter_batches(_CHECKED_ROWS, columns=[name]):
                    pass
        except self._damaged:
            return False
        return True

    def _broken(self, what: str, error: Exception) -> SourceError:
        if isinstance(error, OSError) and error.errno:
            why = str(error.strerror)
        else:
            why = f"{what} ({' '.join(str(error).split()).rstrip(' .:')})"
        return SourceError(f"{self._path} is not a readable Parquet file: {why}", why)

    def _named(self, columns: Mapping[str, str]) -> dict[str, str]:
        """Role → column, of those that the file has. Raises UnknownColumn."""
        for role, column in columns.items():
            if column not in self._fields:
                raise UnknownColumn(f"the file has no column {column!r}", role)
        named = {role: columns.get(role, role) for role in ROLES}
        found = {role: column for role, column in named.items() if column in self._fields}
        if not found.keys() & {"image", "text", "url"}:
            raise UnknownColumn("name the column that holds `image`, `text` or `url`", None)
        return found

    def _entry(self, number: int, row: Column) -> Entry:
        given = {role: row.pop(column, None) for role, column in self._roles.items()}
        item_id = as_id(given.pop("id", None))
        return Entry(
            item_id or f"{readable(os.path.basename(self._path))}#{number}",
            os.fsencode(os.path.abspath(self._path)),
            lambda: self._load(given, row),
            lambda: self._stamp,
            named=item_id is None,
        )

    def _load(self, given: Column, row: Column) -> Loaded:
        """Raises Skip."""
        loaded = self._loaded(given, row)
        return loaded._replace(notes=loaded.notes + self._left_out())

    def _loaded(self, given: Column, row: Column) -> Loaded:
        metadata, notes = _metadata(given, row)
        picture = as_picture(given.get("image"))
        url = None if picture else as_text(given.get("url"), "url")
        try:
            text = as_text(given.get("text"), "text")
        except Skip as skip:
            if not (picture or url):
                raise
            text, notes = None, (*notes, skip.reason)
        if is_url(picture):
            return Loaded(url=picture, metadata=metadata, notes=notes, stamp=self._stamp)
        if isinstance(picture, bytes):
            if len(picture) > self._most_bytes:
                raise too_large(self._most_bytes)
            caption = {"caption": text} if text else {}
            return Loaded(picture, metadata={**caption, **metadata}, notes=notes, stamp=self._stamp)
        if url:
            return Loaded(url=url, metadata={"url": url, **metadata}, notes=notes, stamp=self._stamp)
        if text:
            return Loaded(text=text, metadata=metadata, notes=notes, stamp=self._stamp)
        raise Skip("nothing to embed", "the row has neither a picture's bytes, nor a URL, nor a text")


def _pyarrow() -> tuple[Any, tuple[type[Exception], ...]]:
    try:
        from pyarrow import ArrowException, parquet  # a large import, for this source alone
    except ImportError:
        raise SourceError("Parquet files need pyarrow: pip install clipserve-client[parquet]") from None
    return parquet, (ArrowException, OSError, ValueError)  # the last for names that are not UTF-8


def _numbered(batches: Iterable[Any], first: int, start: int) -> Iterator[tuple[int, Column]]:
    """The rows from number `start` on; the first of the batches begins with number `first`."""
    for batch in batches:
        if first + batch.num_rows > start:
            columns = {name: plain_column(batch.column(name)) for name in batch.schema.names}
            for row in range(max(start - first, 0), batch.num_rows):
                yield first + row, {name: column[row] for name, column in columns.items()}
        first += batch.num_rows


def _metadata(given: Column, row: Column) -> tuple[Json, tuple[str, ...]]:
    """Plain columns, over them the object in the column `metadata`, over both the caption."""
    notes: tuple[str, ...] = ()
    told: Json = {name: as_json(value) for name, value in row.items() if value is not None}
    listed = given.get("metadata")
    if listed is not None:
        inner = listed if isinstance(listed, dict) else read_object(listed) if isinstance(listed, str | bytes) else None
        told, notes = ({**told, **inner}, ()) if inner is not None else (told, ("metadata not read",))
    caption = given.get("caption")
    if isinstance(caption, bytes):
        caption = caption.decode("utf-8", "replace")
    good, odd = carried({**told, **({"caption": caption} if caption is not None else {})})
    return good, notes + odd
