"""A bucket's prefix as the place of a run: an object appears whole, when its upload ends."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from scripts.bulk.output.lease import Lease
from scripts.bulk.output.place import LOCK
from scripts.bulk.shards.errors import why
from scripts.sync.bucket import opened


class OutputBucket:
    """What goes wrong is an OSError of the kind that a disk has: no permission, no such bucket, or EIO."""

    threads = 16

    def __init__(self, address: str, storage: Mapping[str, Any]) -> None:
        """Raises SourceError where the package for this kind of address is missing."""
        self.address = address.rstrip("/")
        self._fs, root = opened(self.address, storage)
        self._root = root.rstrip("/")

    @contextmanager
    def writing(self, name: str) -> Iterator[IO[bytes]]:
        with tempfile.NamedTemporaryFile(prefix="clipserve-bulk-") as file:
            yield file
            file.flush()
            with _failures(self._path(name)):
                if os.path.getsize(file.name):
                    self._fs.put_file(file.name, self._path(name))
                else:
                    self._fs.pipe_file(self._path(name), b"")

    def read(self, name: str) -> bytes | None:
        with _failures(self._path(name)):
            try:
                content: bytes = self._fs.cat_file(self._path(name))
            except FileNotFoundError:
                return None
            return content

    @contextmanager
    def here(self, name: str) -> Iterator[Path | None]:
        folder = tempfile.mkdtemp(prefix="clipserve-bulk-")
        copy = Path(folder) / Path(name).name
        try:
            with _failures(self._path(name)):
                try:
                    self._fs.get_file(self._path(name), str(copy))
                except FileNotFoundError:
                    copy.unlink(missing_ok=True)
            yield copy if copy.exists() else None
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def names(self, folder: str) -> set[str]:
        with _failures(self._path(folder)):
            try:
                found = self._fs.ls(self._path(folder), detail=False)
            except FileNotFoundError:
                return set()
            return {each.rstrip("/").rpartition("/")[2] for each in found}

    def remove(self, name: str) -> None:
        with _failures(self._path(name)):
            try:
                self._fs.rm_file(self._path(name))
            except FileNotFoundError:
                return

    @contextmanager
    def locked(self) -> Iterator[None]:
        with Lease(self, LOCK).held():
            yield

    def sweep(self) -> None:
        """An upload that was cut short left no object."""

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}".rstrip("/")


@contextmanager
def _failures(path: str) -> Iterator[None]:
    """Each file system has errors of its own."""
    try:
        yield
    except PermissionError as error:
        raise OSError(errno.EACCES, why(error), path) from error
    except FileNotFoundError as error:
        raise OSError(errno.ENOENT, why(error) or "no such bucket", path) from error
    except Exception as error:
        raise OSError(errno.EIO, why(error), path) from error
