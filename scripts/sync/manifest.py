"""A Parquet or CSV file with metadata of a source's pictures: a row a file."""

from __future__ import annotations

import csv
import json
import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from clipserve_client.sources.entries import SourceError
from clipserve_client.sources.json_values import carried, read_object
from clipserve_client.sources.parquet_columns import as_json, is_plain, plain_column
from clipserve_client.sources.spool import Spool
from scripts.sync.bucket import fetched, is_url

FILE_COLUMNS = ("file", "file_name", "path")
_ROWS = 1024  # of a batch
_WHOLE = re.compile(r"-?(0|[1-9]\d{0,17})")
_NUMBER = re.compile(r"-?(0|[1-9]\d*)\.\d+([eE][-+]?\d+)?")
Json = dict[str, Any]


class Manifest:
    """`row` of a file: {"id", "metadata", "notes"}. The first row of a file counts."""

    def __init__(self, rows: Iterable[Json]) -> None:
        """Raises SourceError when a row names no file."""
        self._rows = Spool()
        try:
            self._rows.add(map(_packed, rows))
        except BaseException:
            self._rows.close()
            raise

    def row(self, file: str) -> Json:
        found = self._rows.get(file.encode("utf-8", "backslashreplace"))
        return {} if found is None else read_object(found) or {}

    def files(self) -> Iterator[str]:
        return (name.decode() for name, _ in self._rows)

    def close(self) -> None:
        self._rows.close()


def open_manifest(path: str | None, options: Mapping[str, Any]) -> Manifest:
    """A local file or one that fsspec reads; None: no rows. Raises SourceError."""
    if path is None:
        return Manifest([])
    if not is_url(path):
        return _read(Path(path))
    with tempfile.TemporaryDirectory(prefix="clipserve-sync-") as folder:
        return _read(fetched(path, options, Path(folder)))


def _read(path: Path) -> Manifest:
    rows = {".csv": _csv_rows, ".parquet": _parquet_rows, ".pq": _parquet_rows}.get(path.suffix.lower())
    if rows is None:
        raise SourceError(f"the manifest {path.name} is neither .csv nor .parquet")
    try:
        return Manifest(rows(path))
    except (OSError, UnicodeError, csv.Error, ValueError) as error:  # pyarrow's are OSError and ValueError
        raise SourceError(f"the manifest {path.name} can't be read: {' '.join(str(error).split())}") from error


def _csv_rows(path: Path) -> Iterator[Json]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = csv.DictReader(file)
        _require_files(rows.fieldnames or ())
        for row in rows:
            yield {name: typed(value) for name, value in row.items() if name and isinstance(value, str) and value}


def _require_files(names: Iterable[str]) -> None:
    """Raises SourceError, for a file without rows, too: one that is half written would take all metadata away."""
    if not set(names) & set(FILE_COLUMNS):
        raise SourceError(f"the manifest has none of the columns {', '.join(FILE_COLUMNS)}")


def typed(value: str) -> str | int | float | bool:
    """A number or a boolean where the text is exactly one; 007 and 1e5 stay texts."""
    if _WHOLE.fullmatch(value) and value != "-0":
        return int(value)
    if _NUMBER.fullmatch(value):
        return float(value)
    return {"true": True, "false": False}.get(value.lower(), value)


def _parquet_rows(path: Path) -> Iterator[Json]:
    from pyarrow import parquet

    with parquet.ParquetFile(path) as file:
        plain = [field.name for field in file.schema_arrow if is_plain(field.type)]
        _require_files(plain)
        for batch in file.iter_batches(_ROWS, columns=plain):
            columns = {name: plain_column(batch.column(name)) for name in batch.schema.names}
            for number in range(batch.num_rows):
                values = {name: column[number] for name, column in columns.items()}
                yield {name: as_json(value) for name, value in values.items() if value is not None}


def _packed(row: Json) -> tuple[bytes, str]:
    column = next((name for name in FILE_COLUMNS if name in row), None)
    if column is None:
        raise SourceError(f"a row of the manifest names no file: it has nothing in {', '.join(FILE_COLUMNS)}")
    file, item_id, cell = str(row.pop(column)), row.pop("id", None), str(row.pop("metadata", ""))
    inner = read_object(cell)
    metadata, notes = carried({**row, **(inner or {})})
    odd = ["no object in JSON: the manifest's metadata"] if cell and inner is None else []
    told = {"id": None if item_id is None else str(item_id), "metadata": metadata, "notes": [*notes, *odd]}
    return file.removeprefix("./").encode("utf-8", "backslashreplace"), json.dumps(told)
