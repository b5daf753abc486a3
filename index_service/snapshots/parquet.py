"""A collection as one Parquet file: what snapshots are, and what other tools read.

Columns `id` string, `vector` fixed-size list of float32, `metadata` and `source` JSON text. What the collection was
created with is JSON under the key `clipserve` of the file's metadata. Pages carry checksums, the whole file a seal.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from clip_core.errors import InvalidRequest
from index_service.engines.base import METRICS
from index_service.record.store import CollectionInfo, ItemChunk, StoredItem
from index_service.snapshots.seals import seal, sealed

FORMAT = 1
_KEY = b"clipserve"
_ROWS = 2048


def write_parquet(path: Path, info: CollectionInfo, chunks: Iterable[ItemChunk]) -> int:
    """Write the items, some thousand in memory at a time; how many there were. Raises OSError."""
    import pyarrow.parquet as pq

    schema, count = _schema(info), 0
    with pq.ParquetWriter(path, schema, compression="none", use_dictionary=False, write_page_checksum=True) as file:
        for chunk in chunks:
            file.write_batch(_batch(chunk.items, schema))
            count += len(chunk.items)
    seal(path)
    return count


def _schema(info: CollectionInfo) -> Any:
    import pyarrow as pa

    told = {name: value for name, value in vars(info).items() if name not in ("key", "metadata", "store")}
    about = orjson.dumps({"format": FORMAT, "sealed": True, **told, "metadata": orjson.Fragment(info.metadata)})
    columns = [
        pa.field("id", pa.string(), nullable=False),
        pa.field("vector", pa.list_(pa.field("item", pa.float32(), nullable=False), info.dim), nullable=False),
        pa.field("metadata", pa.string(), nullable=False),
        pa.field("source", pa.string()),
    ]
    return pa.schema(columns, {_KEY: about})


def _batch(items: list[StoredItem], schema: Any) -> Any:
    import pyarrow as pa

    flat = pa.array(np.frombuffer(b"".join(item.vector for item in items), "<f4"))
    columns = [
        pa.array([item.id for item in items]),
        pa.FixedSizeListArray.from_arrays(flat, type=schema.field("vector").type),
        pa.array([item.metadata.decode() for item in items]),
        pa.array([item.source and item.source.decode() for item in items], pa.string()),
    ]
    return pa.record_batch(columns, schema=schema)


def check_parquet(path: Path) -> None:
    """Raises InvalidRequest unless the file is as it was written, as far as it can tell.

    A file of an older version has no seal. Its two copies of what the collection was created with must be alike, and
    its row groups must have as many rows as the file says.
    """
    import pyarrow.parquet as pq

    with _damage(path):
        if sealed(path):
            return
        with pq.ParquetFile(path) as file:
            told = file.metadata.metadata[_KEY]
            if told != file.schema_arrow.metadata[_KEY]:
                raise ValueError("its footer contradicts itself")
            if orjson.loads(told).get("sealed"):
                raise ValueError("its seal is missing")
            groups = map(file.metadata.row_group, range(file.metadata.num_row_groups))
            if sum(group.num_rows for group in groups) != file.metadata.num_rows:
                raise ValueError("rows are missing")


def read_info(path: Path, name: str) -> CollectionInfo:
    """What the collection in the file was created with, under another name. Raises InvalidRequest."""
    import pyarrow.parquet as pq

    check_parquet(path)
    with _damage(path):
        about = orjson.loads(pq.read_schema(path).metadata[_KEY])
        if about.pop("format") != FORMAT:
            raise InvalidRequest(f"the snapshot {path.name} is of a format that this program doesn't know")
        if about.get("metric", "cosine") not in METRICS:  # files from before have none
            raise InvalidRequest(f"the snapshot {path.name} is of a metric that this program doesn't know")
        about.pop("sealed", None)
        return CollectionInfo(**{**about, "name": name, "metadata": orjson.dumps(about["metadata"])})


def read_items(path: Path) -> Iterator[list[StoredItem]]:
    """The items in order, some thousand at a time. Raises InvalidRequest for damage or missing rows."""
    import pyarrow.parquet as pq

    with _damage(path), pq.ParquetFile(path, page_checksum_verification=True) as file:
        left = file.metadata.num_rows
        for batch in file.iter_batches(_ROWS):
            left -= len(batch)
            yield _items(batch)
        if left:
            raise ValueError("rows are missing")


def _items(batch: Any) -> list[StoredItem]:
    ids, vectors, metadata, sources = (batch.column(name) for name in ("id", "vector", "metadata", "source"))
    rows = np.ascontiguousarray(vectors.flatten().to_numpy(), "<f4").reshape(len(batch), -1)
    texts = zip(ids.to_pylist(), rows, metadata.to_pylist(), sources.to_pylist(), strict=True)
    return [
        StoredItem(id_, row.tobytes(), data.encode(), source and source.encode()) for id_, row, data, source in texts
    ]


@contextmanager
def _damage(path: Path) -> Iterator[None]:
    """Turns what a damaged file raises into InvalidRequest."""
    try:
        yield
    except (OSError, ValueError, KeyError, TypeError) as error:  # pyarrow's own errors are ValueError and OSError
        raise InvalidRequest(f"the snapshot {path.name} is damaged: {error}", param="snapshot") from error
