"""Parquet files of items: which columns they need, and reading them from a bucket that may fail meanwhile."""

from __future__ import annotations

import io
from collections.abc import Collection
from contextlib import ExitStack
from typing import Any

from scripts.bulk.reading.stores import Stores
from scripts.bulk.shards.errors import Away
from scripts.sync.bucket import is_url

_PICTURES, _TEXTS = ("image", "url", "path"), ("text", "caption")
_WANTED = {"image": _PICTURES, "text": _TEXTS, "both": (*_PICTURES, *_TEXTS)}


def missing_columns(path: str, names: Collection[str], embed: str) -> str:
    """What is wrong with a file of these columns; "" where it has one to embed."""
    wanted = _WANTED[embed]
    if set(names) & set(wanted):
        return ""
    return f"{path} has none of the columns {', '.join(wanted)}: it has {', '.join(sorted(names)) or 'none at all'}"


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
