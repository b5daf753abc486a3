"""Main segments on disk: memory-mapped while in use, and what a restart begins with instead of reading the record.

    <folder>/<number>/vectors.f32      (N, D) little-endian float32
                      seqs.i64         (N,) sequence numbers in the record, ascending
                      ids, ids.ends    UTF-8, one after the other, and where each ends (int64)
                      metadata, metadata.ends
                      engine           the engine's own index, when it has one that takes long to build
                      manifest.json    what is in the others: sizes, and a CRC-32 of each 16 MiB

A folder is written aside, forced to disk and renamed, so that it is there whole or not at all. What fails its checksums
is removed: everything in it can be made again from the record, which alone decides what a collection holds.
"""

from __future__ import annotations

import ctypes
import logging
import mmap
import os
import shutil
import zlib
from collections.abc import Callable, Iterator, Set
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import orjson
from numpy.typing import DTypeLike, NDArray

from clip_core.memory_use import total_bytes
from clip_core.wire import FloatArray
from index_service.engines.base import Segment
from index_service.metadata.columns import Packed, RowBlock

FORMAT = 1
_BLOCK = 16 << 20
_READERS = 2
_MADV_POPULATE_READ = 22  # Linux; Python has no name for it
_MANIFEST = "manifest.json"
_ENGINE = "engine"
_DRAFT = "draft"
_VECTORS = "vectors.f32"
_DATA = (_VECTORS, "seqs.i64", "ids", "ids.ends", "metadata", "metadata.ends")
_log = logging.getLogger("index_service.segments.segment_files")


def segments_folder(data_dir: Path, key: int) -> Path:
    """Where the segments of the collection `key` lie."""
    return data_dir / "segments" / str(key)


def remove_orphans(data_dir: Path, keys: Set[int]) -> None:
    """Remove the segments of collections that aren't among `keys`: a deletion was cut short."""
    for path in (data_dir / "segments").glob("*"):
        if path.name not in {str(key) for key in keys}:
            shutil.rmtree(path, ignore_errors=True)


@dataclass(frozen=True)
class StoredSegment:
    """A main segment's rows, mapped from disk; `engine_file` when the engine `engine` saved an index."""

    block: RowBlock
    engine: str
    engine_file: Path | None


class SegmentFiles:
    """The main segments of one collection below `folder`; one writer at a time."""

    def __init__(self, folder: Path, dim: int) -> None:
        self.folder, self.dim = folder, dim

    def draft(self) -> Draft:
        """An empty folder for a segment to be written. Raises OSError."""
        draft = Draft(self.folder / _DRAFT, self.dim)
        draft.drop()
        draft.folder.mkdir(parents=True)
        return draft

    def commit(self, draft: Draft) -> None:
        """Give a draft that was saved its name; from here on a restart begins with it."""
        draft.folder.rename(self.folder / str(max(self._numbers(), default=0) + 1))
        sync(self.folder)

    @property
    def newest_folder(self) -> Path | None:
        """Of the segment that was committed last; None where there is none."""
        return self.folder / str(max(self._numbers())) if self._numbers() else None

    def newest(self, last_seq: int) -> StoredSegment | None:
        """The newest segment that is whole; what isn't is removed, and so is one that knows rows beyond `last_seq`."""
        shutil.rmtree(self.folder / _DRAFT, ignore_errors=True)  # of a process that was killed
        for number in sorted(self._numbers(), reverse=True):
            path = self.folder / str(number)
            try:
                return _read(path, self.dim, last_seq)
            except (OSError, ValueError, KeyError, TypeError) as error:
                _log.warning("segment dropped", extra={"path": str(path), "reason": str(error)})
                shutil.rmtree(path, ignore_errors=True)
        return None

    def remove_older(self) -> None:
        """Remove all segments but the newest; what is mapped of them stays readable."""
        for number in sorted(self._numbers())[:-1]:
            shutil.rmtree(self.folder / str(number), ignore_errors=True)

    def remove(self) -> None:
        """Remove everything, as when the collection is deleted."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _numbers(self) -> list[int]:
        names = (path.name for path in self.folder.iterdir()) if self.folder.is_dir() else ()
        return [int(name) for name in names if name.isdecimal()]


@dataclass(frozen=True)
class Draft:
    """The `folder` of a segment that is being written, by this process or by a builder."""

    folder: Path
    dim: int

    @property
    def engine_file(self) -> Path:
        """Where the engine's own index lies, if it has one."""
        return self.folder / _ENGINE

    @contextmanager
    def writer(self) -> Iterator[SegmentWriter]:
        """Writes its rows and its engine. Raises OSError."""
        with ExitStack() as files:
            yield SegmentWriter(self, files)

    def mapped(self) -> RowBlock:
        """All rows, mapped, once they are written."""
        return mapped_rows(self.folder, self.dim)

    def drop(self) -> None:
        """Remove what was written."""
        shutil.rmtree(self.folder, ignore_errors=True)


class SegmentWriter:
    """Writes a `draft`: `append` rows, `mapped` them, `save` the engine. Its `files` are closed in any case."""

    def __init__(self, draft: Draft, files: ExitStack) -> None:
        self._draft = draft
        self._files = {name: _SummedFile(files.enter_context((draft.folder / name).open("wb"))) for name in _DATA}
        self._sums: dict[str, Any] = {}
        self._ends = {"ids": 0, "metadata": 0}

    def append(self, block: RowBlock) -> None:
        """Add rows at the end. Raises OSError, as when the disk is full."""
        self._files[_VECTORS].write(np.ascontiguousarray(block.vectors, "<f4"))
        self._files["seqs.i64"].write(block.seqs.astype("<i8"))
        for name, packed in (("ids", block.ids), ("metadata", block.metadata)):
            self._files[name].write(packed.data)
            self._files[f"{name}.ends"].write((packed.ends + self._ends[name]).astype("<i8"))
            self._ends[name] += len(packed.data)

    def mapped(self) -> RowBlock:
        """All rows, mapped; nothing is appended after this."""
        self._sums = {name: file.close() for name, file in self._files.items()}
        return self._draft.mapped()

    def save(self, segment: Segment) -> None:
        """Save the segment's own index, when it has one, and force everything to disk."""
        folder, engine = self._draft.folder, self._draft.engine_file
        save: Callable[[Path], None] | None = getattr(segment, "save", None)
        if save is not None:
            save(engine)
            self._sums[_ENGINE] = _sums(engine)
        described = {"format": FORMAT, "dim": self._draft.dim, "engine": segment.engine, "files": self._sums}
        manifest = orjson.dumps(described)
        (folder / _MANIFEST).write_bytes(b"%s\n%08x\n" % (manifest, zlib.crc32(manifest)))
        for path in (*folder.iterdir(), folder):
            sync(path)


class _SummedFile:
    """A file whose checksums are taken while it is written."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._size, self._crcs = 0, [0]

    def write(self, data: NDArray[Any] | memoryview) -> None:
        left = data.reshape(-1).view(np.uint8).data if isinstance(data, np.ndarray) else data  # not copied
        self._file.write(left)
        while left:
            if self._size == len(self._crcs) * _BLOCK:
                self._crcs.append(0)
                os.fdatasync(self._file.fileno())  # bit by bit: a commit of the record would wait for all of it
            part = left[: len(self._crcs) * _BLOCK - self._size]
            self._crcs[-1] = zlib.crc32(part, self._crcs[-1])
            self._size, left = self._size + len(part), left[len(part) :]

    def close(self) -> dict[str, Any]:
        self._file.close()
        return {"bytes": self._size, "crc32": self._crcs}


def _sums(path: Path) -> dict[str, Any]:
    """What `_SummedFile` would have said of the file at `path`; blocks are read side by side."""
    size = path.stat().st_size

    def crc(start: int) -> int:
        with path.open("rb") as file:
            file.seek(start)
            return zlib.crc32(file.read(_BLOCK))

    with ThreadPoolExecutor(_READERS) as readers:
        return {"bytes": size, "crc32": list(readers.map(crc, range(0, max(size, 1), _BLOCK)))}


def sync(path: Path) -> None:
    """Force a file or folder to disk."""
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def _read(path: Path, dim: int, last_seq: int) -> StoredSegment:
    """Raises ValueError or another of what `newest` catches, when anything in it isn't as it was written."""
    line, crc = (path / _MANIFEST).read_bytes().split(b"\n")[:2]
    if int(crc, 16) != zlib.crc32(line):
        raise ValueError("the manifest is damaged")
    manifest = orjson.loads(line)
    if (manifest["format"], manifest["dim"]) != (FORMAT, dim):
        raise ValueError(f"it is of format {manifest['format']} and dimension {manifest['dim']}")
    for name, sums in manifest["files"].items():
        if _sums(path / name) != sums:
            raise ValueError(f"{name} is damaged")
    block = mapped_rows(path, dim)
    if len(block.seqs) and block.seqs[-1] > last_seq:
        raise ValueError("it is newer than the record")
    return StoredSegment(block, manifest["engine"], path / _ENGINE if _ENGINE in manifest["files"] else None)


def mapped_rows(path: Path, dim: int) -> RowBlock:
    """The rows of a segment in the folder `path`, mapped. Raises OSError."""
    vectors: FloatArray = _mapped(path / _VECTORS, "<f4").reshape(-1, dim)
    ids, metadata = (
        Packed(_mapped(path / name, np.uint8).data, _mapped(path / f"{name}.ends", "<i8"))
        for name in ("ids", "metadata")
    )
    return RowBlock(_mapped(path / "seqs.i64", "<i8"), vectors, ids, metadata)


def _mapped(path: Path, dtype: DTypeLike) -> NDArray[Any]:
    """The file as an array that is read from disk when it is looked at; the mapping lives as long as the array."""
    with path.open("rb") as file:
        if path.stat().st_size == 0:  # which can't be mapped
            return np.empty(0, dtype)
        return np.frombuffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), dtype)


def half_of_memory() -> int:
    """Bytes of mapped files that may be read at once: more would push out of the page cache what else is in use."""
    return total_bytes() // 2


def prefault(mapped: NDArray[Any], room: int) -> int:
    """Map the pages of a file at once, before searches do it one fault a row.

    How many bytes that were; 0 for what isn't mapped, or has more than `room`.
    """
    owner: Any = mapped
    while isinstance(owner, (np.ndarray, memoryview)):
        owner = owner.base if isinstance(owner, np.ndarray) else owner.obj
    if not isinstance(owner, mmap.mmap) or len(owner) > room:
        return 0
    first, end = np.frombuffer(owner, np.uint8).ctypes.data, len(owner)
    madvise = ctypes.CDLL(None).madvise  # not Python's, which holds the GIL while the disk is read
    for start in range(0, end, _BLOCK):  # refused by a kernel before 5.14
        madvise(ctypes.c_void_p(first + start), ctypes.c_size_t(min(_BLOCK, end - start)), _MADV_POPULATE_READ)
    return end
