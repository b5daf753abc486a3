"""Parquet files of items: which columns they need, and reading them from a bucket that may fail meanwhile."""

from __future__ import annotations

import io
from contextlib import ExitStack
from typing import Any

from clipserve_client.sources.parquet_columns import holds_pictures, holds_texts
from scripts.bulk.reading.stores import Stores
from scripts.bulk.shards.errors import Away
from scripts.sync.bucket import is_url

PICTURES, TEXTS = ("image", "url", "path"), ("text", "caption")
_WANTED = {"image": PICTURES, "text": TEXTS, "both": (*PICTURES, *TEXTS)}


def missing_columns(path: str, schema: Any, embed: str) -> str:
    """What is wrong with a file of this Arrow schema; "" where it has a column to embed."""
    wanted, kinds = _WANTED[embed], {field.name: field.type for field in schema}
    there = [name for name in wanted if name in kinds]
    if not there:
        return f"{path} has none of the columns {', '.join(wanted)}: it has {', '.join(sorted(kinds)) or 'none at all'}"
    if any(holds_pictures(kinds[name]) if name == "image" else holds_texts(kinds[name]) for name in there):
        return ""
    odd = ", ".join(f"{name} is of type {kinds[name]}" for name in there)
    return f"{path} has no column to embed: {odd}; texts, URLs and paths are strings, pictures bytes"


def opened_parquet(path: str, stores: Stores, stack: ExitStack) -> str | FarFile:
    """What pyarrow reads. Raises FileNotFoundError, Away."""
    if not is_url(path):
        return path
    fs, inside = stores.opened(path)
    try:
        file = fs.open(inside, "rb")
        return stack.enter_context(FarFile(file, int(file.size)))
    except FileNotFoundError:
        raise
    except Exception as error:  # each file system has errors of its own
        raise Away(f"{path} can't be read: {' '.join(str(error).split())[:300]}") from error


class FarFile(io.RawIOBase):
    """An opened file of a bucket that remembers whether the bucket failed: what pyarrow raises then is no damage.

    `failed` says how, or is "".
    """

    def __init__(self, file: Any, size: int) -> None:
        self._file, self._size, self.failed = file, size, ""

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return int(self._file.tell())

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return int(self._file.seek(offset, whence))

    def read(self, size: int | None = -1) -> bytes:
        """Raises OSError, also when less comes than there is."""
        at = self.tell()
        wanted = self._size - at if size is None or size < 0 else min(size, self._size - at)
        try:
            content: bytes = self._file.read(wanted)
        except Exception as error:  # each file system has errors of its own
            self.failed = " ".join(str(error).split())[:300] or type(error).__name__
            raise OSError(self.failed) from error
        if len(content) < wanted:
            self.failed = f"{len(content):,} of {wanted:,} bytes came"
            raise OSError(self.failed)
        return content

    def close(self) -> None:
        self._file.close()
        super().close()
