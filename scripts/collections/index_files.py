"""Collections ↔ Parquet files, over the index service's HTTP API."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import orjson
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from clip_core.errors import BadInput, InvalidRequest, UnknownCollection
from clip_core.wire import encode_vector, json_text, load_json
from clipserve_client.calls.calls import quoted
from clipserve_client.sources.parquet_columns import plain_column
from clipserve_client.sources.parquet_values import as_id
from index_service.snapshots.seals import sealed
from scripts.public_api import PublicApi

BATCH = 256
_KEY = b"clipserve"
_COLUMNS = ("id", "vector", "metadata", "source")


def export_parquet(api: PublicApi, collection: str, path: Path) -> int:
    """Write the collection, as it is at this moment, to `path`, which appears whole or not at all; its bytes."""
    name = quoted(api.call("POST", f"/collections/{quoted(collection)}/snapshots", {})["name"])
    part = path.with_name(f"{path.name}.part")
    try:
        with api.download(f"/snapshots/{name}") as content, part.open("wb") as to:
            to.writelines(content)
        part.rename(path)
    finally:
        part.unlink(missing_ok=True)
        api.call("DELETE", f"/snapshots/{name}")
    return path.stat().st_size


def import_parquet(
    api: PublicApi, collection: str, path: Path, console: Console, store: str | None = None
) -> list[str]:
    """Upsert every row; the collection is made, in `store`, when it isn't there. One line for each row refused."""
    import pyarrow.parquet as pq

    failed: list[str] = []
    _check_seal(path)
    with pq.ParquetFile(path, page_checksum_verification=True) as file:
        fingerprint = _prepare(api, collection, path, file, store, console)
        columns = (TextColumn(f"import {collection}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=console) as progress:
            task = progress.add_task("import", total=file.metadata.num_rows)
            wanted = [name for name in _COLUMNS if name in file.schema_arrow.names]
            row = 0
            for batch in file.iter_batches(BATCH, columns=wanted):
                items, left_out = _items(batch, row)
                failed += left_out
                if items:
                    body = {"fingerprint": fingerprint, "items": items}
                    results = api.call("POST", f"/collections/{quoted(collection)}/items", body)["results"]
                    failed += [f"{one['id']}: {one['error']['message']}" for one in results if one["status"] >= 300]
                row += batch.num_rows
                progress.advance(task, batch.num_rows)
    return failed


def _check_seal(path: Path) -> None:
    """Raises BadInput for a damaged export; files made elsewhere have no seal."""
    try:
        sealed(path)
    except (OSError, ValueError) as error:
        raise BadInput(f"{path} can't be imported: {error}") from error


def _prepare(api: PublicApi, collection: str, path: Path, file: Any, store: str | None, console: Console) -> str | None:
    """The fingerprint of the file's vectors: None for a file that isn't an export, which needs its collection made."""
    if not {"id", "vector"} <= set(file.schema_arrow.names):
        raise BadInput(f"{path} has no columns `id` and `vector`")
    about = (file.schema_arrow.metadata or {}).get(_KEY)
    told: dict[str, Any] = orjson.loads(about) if about else {}
    try:
        there = api.call("GET", f"/collections/{quoted(collection)}")["store"]
        if store not in (None, there):
            raise BadInput(f"{collection} is in the store {there}: `clipserve index move` moves it, or name another")
    except UnknownCollection:
        if not told:
            raise BadInput(f"{path} doesn't say which model its vectors are of: make the collection first") from None
        made = ("model", "fingerprint", "dim", "metric", "engine", "factory", "recall_target", "metadata", "store")
        engine, _, factory = told["engine"].partition(":")
        told.update(engine=engine, factory=factory or None, store=store)
        _make(api, collection, {name: told[name] for name in made if told.get(name) is not None}, console)
    return told.get("fingerprint")


def _make(api: PublicApi, collection: str, wanted: dict[str, Any], console: Console) -> None:
    """An engine that is not there, such as `certified` in Milvus, becomes `auto`, which is told."""
    path = f"/collections/{quoted(collection)}"
    try:
        api.call("PUT", path, wanted)
    except InvalidRequest as error:
        if error.param not in ("engine", "factory"):
            raise
        console.print(f"{error.message}: {collection} has the engine auto", highlight=False)
        api.call("PUT", path, {name: value for name, value in wanted.items() if name not in ("engine", "factory")})


def _items(batch: Any, start: int) -> tuple[list[dict[str, Any]], list[str]]:
    """What can be sent, and a line for each row that can't; `start` is the number of the first row."""
    columns = {name: plain_column(batch.column(name)) for name in batch.schema.names}
    items, left_out = list[dict[str, Any]](), list[str]()
    for row in range(batch.num_rows):
        item_id = as_id(columns["id"][row])
        try:
            if item_id is None:
                raise BadInput("it has no id")
            items.append(_item(item_id, {name: values[row] for name, values in columns.items()}))
        except BadInput as error:
            left_out.append(f"{item_id or f'row {start + row}'}: {error.message}")
    return items, left_out


def _item(item_id: str, row: dict[str, Any]) -> dict[str, Any]:
    """Raises BadInput."""
    item: dict[str, Any] = {"id": item_id, "vector": _vector(row["vector"])}
    for name in ("metadata", "source"):
        value = row.get(name)
        if value is not None:
            item[name] = _object(value, name)
    return item


def _object(value: object, name: str) -> Any:
    """Raises BadInput for what is no JSON, or could not be sent as it is."""
    if not isinstance(value, str | bytes):
        raise BadInput(f"`{name}` is not a text of JSON")
    told = load_json(value)
    json_text(told, name)
    return told


def _vector(value: object) -> str:
    """Raises BadInput."""
    try:
        return encode_vector(np.array(value, np.float32).reshape(-1))
    except (ValueError, TypeError, OverflowError):
        raise BadInput("its vector is not a list of numbers") from None
