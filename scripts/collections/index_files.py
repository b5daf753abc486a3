"""Collections ↔ Parquet files, over the index service's HTTP API."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import orjson
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from clip_core.errors import BadInput, UnknownCollection
from clip_core.wire import encode_vector
from index_service.snapshots.seals import sealed
from scripts.public_api import PublicApi

BATCH = 256
_KEY = b"clipserve"


def export_parquet(api: PublicApi, collection: str, path: Path) -> int:
    """Write the collection, as it is at this moment, to `path`, which appears whole or not at all; its bytes."""
    name = quote(api.call("POST", f"/collections/{quote(collection)}/snapshots", {})["name"])
    part = path.with_name(f"{path.name}.part")
    try:
        with api.download(f"/snapshots/{name}") as content, part.open("wb") as to:
            to.writelines(content)
        part.rename(path)
    finally:
        part.unlink(missing_ok=True)
        api.call("DELETE", f"/snapshots/{name}")
    return path.stat().st_size


def import_parquet(api: PublicApi, collection: str, path: Path, console: Console) -> list[str]:
    """Upsert every row; the collection is made when it isn't there. One line for each row that was refused."""
    import pyarrow.parquet as pq

    failed: list[str] = []
    _check_seal(path)
    with pq.ParquetFile(path, page_checksum_verification=True) as file:
        fingerprint = _prepare(api, collection, path, file)
        columns = (TextColumn(f"import {collection}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=console) as progress:
            task = progress.add_task("import", total=file.metadata.num_rows)
            for batch in file.iter_batches(BATCH):
                body = {"fingerprint": fingerprint, "items": list(_items(batch))}
                results = api.call("POST", f"/collections/{quote(collection)}/items", body)["results"]
                failed += [f"{one['id']}: {one['error']['message']}" for one in results if one["status"] >= 300]
                progress.advance(task, batch.num_rows)
    return failed


def _check_seal(path: Path) -> None:
    """Raises BadInput for a damaged export; files made elsewhere have no seal."""
    try:
        sealed(path)
    except (OSError, ValueError) as error:
        raise BadInput(f"{path} can't be imported: {error}") from error


def _prepare(api: PublicApi, collection: str, path: Path, file: Any) -> str | None:
    """The fingerprint of the file's vectors: None for a file that isn't an export, which needs its collection made."""
    if not {"id", "vector"} <= set(file.schema_arrow.names):
        raise BadInput(f"{path} has no columns `id` and `vector`")
    about = (file.schema_arrow.metadata or {}).get(_KEY)
    told: dict[str, Any] = orjson.loads(about) if about else {}
    try:
        api.call("GET", f"/collections/{quote(collection)}")
    except UnknownCollection:
        if not told:
            raise BadInput(f"{path} doesn't say which model its vectors are of: make the collection first") from None
        made = ("model", "fingerprint", "dim", "metric", "engine", "factory", "recall_target", "metadata")
        engine, _, factory = told["engine"].partition(":")
        told.update(engine=engine, factory=factory or None)
        wanted = {name: told[name] for name in made if told.get(name) is not None}
        api.call("PUT", f"/collections/{quote(collection)}", wanted)
    return told.get("fingerprint")


def _items(batch: Any) -> Iterator[dict[str, Any]]:
    for row in batch.to_pylist():
        item = {"id": row["id"], "vector": encode_vector(np.array(row["vector"], np.float32))}
        for name in ("metadata", "source"):
            if row.get(name) is not None:
                item[name] = orjson.loads(row[name])
        yield item
