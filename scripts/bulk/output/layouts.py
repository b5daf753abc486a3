"""A shard's vectors on disk: one Parquet file, or .npy and metadata as clip-retrieval writes them.

https://github.com/rom1504/clip-retrieval#clip-inference: `img_emb/img_emb_0.npy`, `text_emb/text_emb_0.npy` (float16)
and `metadata/metadata_0.parquet`, the same number and order of rows in each.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence
from typing import IO, Any, NamedTuple, Protocol

import numpy as np
import pyarrow
from pyarrow import parquet

from clip_core.wire import FloatArray
from scripts.bulk.output.place import OutputPlace
from scripts.bulk.output.run_folder import Output
from scripts.bulk.shards.shard import Shard

LAYOUTS = ("parquet", "clip-retrieval")
_NPY_HEADER = 128  # bytes, as NumPy aligns it
Json = dict[str, Any]


class EncodedItem(NamedTuple):
    """An item with its vectors: `image` and `text` (D,) float32, unit norm; one of them at least."""

    id: str
    image: FloatArray | None
    text: FloatArray | None
    caption: str | None
    digest: str | None  # SHA-256 of the picture's bytes
    metadata: Json


class Written(Protocol):
    """One shard; nothing is at its place before `close`."""

    def add(self, rows: Sequence[EncodedItem]) -> None: ...

    def close(self) -> None: ...

    def abandon(self) -> None: ...


def open_layout(layout: str, place: OutputPlace, shard: Shard, dim: int, embed: str) -> Written:
    """`embed`: image, text or both."""
    if layout == "clip-retrieval":
        return ClipRetrieval(place, shard, dim, embed)
    return ParquetShard(place, Output.part(shard), dim, embed)


class _Files:
    """Files that appear together, as nearly as renames can; what says that they are whole comes after them."""

    def __init__(self, place: OutputPlace) -> None:
        self._place, self._stack = place, contextlib.ExitStack()

    def open(self, name: str) -> IO[bytes]:
        return self._stack.enter_context(self._place.writing(name))

    def keep(self) -> None:
        self._stack.close()

    def drop(self) -> None:
        with contextlib.suppress(_Dropped), self._stack:
            raise _Dropped


class _Dropped(Exception):
    """Makes `writing` leave nothing."""


class _Table:
    """A Parquet file, perhaps with other files."""

    def __init__(self, place: OutputPlace) -> None:
        self._files = _Files(place)
        self._writer: parquet.ParquetWriter

    def close(self) -> None:
        self._writer.close()
        self._files.keep()

    def abandon(self) -> None:
        with contextlib.suppress(Exception):  # a writer that is not closed would write when it is collected
            self._writer.close()
        self._files.drop()


class ParquetShard(_Table):
    """Columns `id`, `vector`, with texts beside pictures `text_vector`, and `caption`, `digest`, `metadata` (JSON)."""

    def __init__(self, place: OutputPlace, name: str, dim: int, embed: str) -> None:
        vector = pyarrow.list_(pyarrow.float32(), dim)
        text = pyarrow.string()
        names = ["vector", "text_vector"] if embed == "both" else ["vector"]
        self._schema = pyarrow.schema(
            [("id", text), *((name, vector) for name in names), *((n, text) for n in ("caption", "digest", "metadata"))]
        )
        self._both, self._dim = embed == "both", dim
        super().__init__(place)
        self._writer = parquet.ParquetWriter(self._files.open(name), self._schema, compression="zstd")

    def add(self, rows: Sequence[EncodedItem]) -> None:
        vectors = [[row.image for row in rows], [row.text for row in rows]]
        if not self._both:
            vectors = [[row.text if row.image is None else row.image for row in rows]]
        columns = [
            pyarrow.array([row.id for row in rows], pyarrow.string()),
            *(self._vectors(each) for each in vectors),
            pyarrow.array([row.caption for row in rows], pyarrow.string()),
            pyarrow.array([row.digest for row in rows], pyarrow.string()),
            pyarrow.array([as_text(row.metadata) for row in rows], pyarrow.string()),
        ]
        if rows:
            self._writer.write_table(pyarrow.Table.from_arrays(columns, schema=self._schema))

    def _vectors(self, vectors: Sequence[FloatArray | None]) -> Any:
        filled = [np.zeros(self._dim, np.float32) if each is None else each for each in vectors]
        flat = np.concatenate(filled).astype(np.float32, copy=False) if filled else np.zeros(0, np.float32)
        mask = pyarrow.array([each is None for each in vectors], pyarrow.bool_())
        return pyarrow.FixedSizeListArray.from_arrays(flat, self._dim, mask=mask)


class ClipRetrieval(_Table):
    """float16, and zeros where an item lacks one of the two vectors."""

    def __init__(self, place: OutputPlace, shard: Shard, dim: int, embed: str) -> None:
        super().__init__(place)
        self._dim, self._rows = dim, 0
        kinds = {"image": ("img",), "text": ("text",), "both": ("img", "text")}[embed]
        self._npy = {}
        for kind in kinds:
            self._npy[kind] = self._files.open(f"{kind}_emb/{kind}_emb_{shard.name}.npy")
            self._npy[kind].write(bytes(_NPY_HEADER))
        text = pyarrow.string()
        names = ("image_path", "url", "caption", "metadata", "digest")
        self._schema = pyarrow.schema([(name, text) for name in names])
        about = self._files.open(f"metadata/metadata_{shard.name}.parquet")
        self._writer = parquet.ParquetWriter(about, self._schema, compression="zstd")

    def add(self, rows: Sequence[EncodedItem]) -> None:
        if not rows:
            return
        for kind, file in self._npy.items():
            vectors = [row.image if kind == "img" else row.text for row in rows]
            filled = [np.zeros(self._dim, np.float32) if each is None else each for each in vectors]
            file.write(np.stack(filled).astype("<f2").tobytes())
        urls = [row.metadata.get("url") for row in rows]
        columns = [[row.id for row in rows], [url if isinstance(url, str) else None for url in urls]]
        columns += [[row.caption for row in rows], [as_text(row.metadata) for row in rows]]
        columns += [[row.digest for row in rows]]
        arrays = [pyarrow.array(column, pyarrow.string()) for column in columns]
        self._writer.write_table(pyarrow.Table.from_arrays(arrays, schema=self._schema))
        self._rows += len(rows)

    def close(self) -> None:
        self._writer.close()
        for file in self._npy.values():
            file.seek(0)
            file.write(_npy_header(self._rows, self._dim))
            file.seek(0, 2)
        self._files.keep()


def _npy_header(rows: int, dim: int) -> bytes:
    """https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html, version 1.0."""
    told = f"{{'descr': '<f2', 'fortran_order': False, 'shape': ({rows}, {dim}), }}"
    padded = told.ljust(_NPY_HEADER - 11) + "\n"
    return b"\x93NUMPY\x01\x00" + len(padded).to_bytes(2, "little") + padded.encode("latin-1")


def as_text(metadata: Json) -> str | None:
    return json.dumps(metadata, ensure_ascii=False, sort_keys=True) if metadata else None


def _writable(text: str) -> str:
    """As UTF-8: messages quote what was read."""
    return text.encode("utf-8", "backslashreplace").decode()


BAD_SCHEMA = pyarrow.schema([(name, pyarrow.string()) for name in ("shard", "id", "code", "message")])


class BadItems(_Table):
    """Columns `shard`, `id`, `code`, `message`."""

    def __init__(self, place: OutputPlace, name: str) -> None:
        super().__init__(place)
        self._writer = parquet.ParquetWriter(self._files.open(name), BAD_SCHEMA, compression="zstd")

    def add(self, rows: Sequence[tuple[str, str, str, str]]) -> None:
        if rows:
            columns = [pyarrow.array(map(_writable, column), pyarrow.string()) for column in zip(*rows, strict=True)]
            self._writer.write_table(pyarrow.Table.from_arrays(columns, schema=BAD_SCHEMA))
