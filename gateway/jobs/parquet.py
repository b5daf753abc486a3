"""A Parquet file: one row an item, the picture in a column of bytes or of Hugging Face's {"bytes", "path"} structs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from clip_core.errors import BadInput, ClipServeError, InvalidRequest
from gateway.jobs.entries import Entry, Wanted, image_item

_ROWS = 32
_PLAIN = (str, int, float, bool)


class ParquetFile:
    """`columns` says which hold `id`, `image`, `text` and `url`; all other plain columns become metadata."""

    def __init__(self, path: Path, columns: Mapping[str, str]) -> None:
        from pyarrow import ArrowException, parquet  # a large import, for this source alone

        self._damaged = (ArrowException, OSError)
        try:
            self._file = parquet.ParquetFile(path)
        except self._damaged as error:
            raise BadInput(f"the Parquet file can't be read: {error}", param="source.parquet") from error
        names = set(self._file.schema_arrow.names)
        self._named = {role: columns.get(role, role) for role in ("id", "image", "text", "url")}
        for role, column in columns.items():
            if column not in names:
                raise InvalidRequest(f"the file has no column {column!r}", param=f"source.columns.{role}")
        if not names & {self._named[role] for role in ("image", "text", "url")}:
            raise InvalidRequest("name the column that holds `image`, `text` or `url`", param="source.columns")

    def count(self) -> int:
        return int(self._file.metadata.num_rows)

    def entries(self, wanted: Wanted) -> Iterator[Entry]:
        """Raises BadInput when the file is damaged further in."""
        place = 0
        try:
            for batch in self._file.iter_batches(_ROWS):
                places = range(place, place + batch.num_rows)
                place += batch.num_rows
                if any(map(wanted, places)):
                    yield from (
                        self._entry(i, row) for i, row in zip(places, batch.to_pylist(), strict=True) if wanted(i)
                    )
        except self._damaged as error:
            raise BadInput(f"the Parquet file can't be read: {error}", param="source.parquet") from error

    def _entry(self, place: int, row: dict[str, Any]) -> Entry:
        given = {role: row.pop(column, None) for role, column in self._named.items()}
        item_id = str(place if given["id"] is None else given["id"])
        metadata = {name: value for name, value in row.items() if isinstance(value, _PLAIN)}
        return Entry(place, item_id, _item(item_id, given, metadata))


def _item(item_id: str, given: Mapping[str, Any], metadata: dict[str, Any]) -> dict[str, Any] | ClipServeError:
    image = given["image"]["bytes"] if isinstance(given["image"], dict) else given["image"]
    if isinstance(image, bytes):
        caption = {"caption": given["text"]} if isinstance(given["text"], str) else {}
        return image_item(item_id, image, {**caption, **metadata})
    if isinstance(given["url"], str):
        return {"id": item_id, "image": given["url"], "metadata": {"url": given["url"], **metadata}}
    if isinstance(given["text"], str):
        return {"id": item_id, "text": given["text"], "metadata": metadata}
    return BadInput("the row has neither image bytes, nor a url, nor a text")
