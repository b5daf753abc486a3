"""Items of a run that are alike: made of the same bytes, or with nearly the same vector. They are only reported."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow
from pyarrow import parquet

from clip_core.wire import FloatArray
from scripts.bulk.output.run_folder import DUPLICATES, Output
from scripts.bulk.shards.shard import Shard

_FEW = 20_000  # rows up to which every pair is compared
_BLOCK, _NEAREST, _PROBES = 2048, 16, 16
SCHEMA = pyarrow.schema([("group", pyarrow.int64()), ("kind", pyarrow.string()), ("id", pyarrow.string())])


class Groups:
    """Which rows belong together, as pairs are told (union-find)."""

    def __init__(self, rows: int) -> None:
        self._parent = np.arange(rows)

    def join(self, one: int, other: int) -> None:
        one, other = self._root(one), self._root(other)
        self._parent[max(one, other)] = min(one, other)

    def of_several(self) -> list[list[int]]:
        """Groups of two or more, by their first rows."""
        found: dict[int, list[int]] = {}
        for row in range(len(self._parent)):
            found.setdefault(self._root(row), []).append(row)
        return [rows for rows in found.values() if len(rows) > 1]

    def _root(self, row: int) -> int:
        while self._parent[row] != row:
            self._parent[row] = self._parent[self._parent[row]]
            row = int(self._parent[row])
        return row


def report_duplicates(output: Output, shards: Sequence[Shard], threshold: float) -> tuple[int, int]:
    """Writes `duplicates.parquet` (group, kind, id); how many groups of the same content, and of near vectors.

    Memory: all vectors and ids at once. Beyond 20,000 rows a row is compared with its nearest ones in the lists of an
    inverted index, so a few pairs may be missed.
    """
    ids, digests, vectors = _read(output, shards)
    same, near = _same_content(digests), _near(vectors, digests, threshold) if len(ids) else []
    rows = [(number, kind, ids[row]) for number, (kind, group) in enumerate([*same, *near]) for row in group]
    columns = [list(column) for column in zip(*rows, strict=True)] or [[], [], []]
    with output.place.writing(DUPLICATES) as file:
        parquet.write_table(
            pyarrow.Table.from_arrays([*map(pyarrow.array, columns, SCHEMA.types)], schema=SCHEMA), file
        )
    return len(same), len(near)


def _read(output: Output, shards: Sequence[Shard]) -> tuple[list[str], list[str | None], FloatArray]:
    ids, digests, parts = list[str](), list[str | None](), list[FloatArray]()
    for shard in shards:
        with output.place.here(output.part(shard)) as path:
            if path is None:
                continue
            table = parquet.read_table(path, columns=["id", "digest", "vector"], memory_map=False)
        ids += table.column("id").to_pylist()
        digests += table.column("digest").to_pylist()
        parts += map(_vectors, table.column("vector").chunks)
    return ids, digests, np.concatenate(parts) if parts else np.zeros((0, 1), np.float32)


def _vectors(chunk: pyarrow.FixedSizeListArray) -> FloatArray:
    """(N, D), with zeros for an item without a picture, which is like no other."""
    filled = np.zeros((len(chunk), chunk.type.list_size), np.float32)
    there = np.asarray(chunk.is_valid())
    filled[there] = np.asarray(chunk.flatten(), np.float32).reshape(int(there.sum()), -1)  # without those that are null
    return filled


def _same_content(digests: Sequence[str | None]) -> list[tuple[str, list[int]]]:
    found: dict[str, list[int]] = {}
    for row, digest in enumerate(digests):
        if digest is not None:
            found.setdefault(digest, []).append(row)
    return [("content", rows) for rows in found.values() if len(rows) > 1]


def _near(vectors: FloatArray, digests: Sequence[str | None], threshold: float) -> list[tuple[str, list[int]]]:
    """Groups that hold more than one content."""
    groups = Groups(len(vectors))
    for one, other in _pairs(vectors, threshold):
        groups.join(one, other)
    several = groups.of_several()
    return [("vector", rows) for rows in several if len({digests[row] or row for row in rows}) > 1]


def _pairs(vectors: FloatArray, threshold: float) -> Iterator[tuple[int, int]]:
    rows = len(vectors)
    index = _index(vectors)
    index.add(vectors)
    for start in range(0, rows, _BLOCK):
        scores, found = index.search(vectors[start : start + _BLOCK], min(_NEAREST, rows))
        for at, nearest in zip(*np.nonzero((scores >= threshold) & (found >= 0)), strict=True):
            other = int(found[at, nearest])
            if other != start + at:
                yield start + int(at), other


def _index(vectors: FloatArray) -> Any:
    """FAISS's, still empty."""
    import faiss

    rows, dim = vectors.shape
    if rows <= _FEW:
        return faiss.IndexFlatIP(dim)
    lists = int(4 * rows**0.5)
    index: Any = faiss.index_factory(dim, f"IVF{lists},Flat", faiss.METRIC_INNER_PRODUCT)
    index.train(np.ascontiguousarray(vectors[:: max(1, rows // (lists * 40))]))
    index.nprobe = _PROBES
    return index
