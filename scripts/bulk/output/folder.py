"""A folder as the place of a run: a file is written beside its place, brought to the disk, and renamed."""

from __future__ import annotations

import contextlib
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from scripts.bulk.output.place import LOCK
from scripts.bulk.shards.errors import BulkFailed, BulkRefused
from scripts.locking import only_here

_TEMPORARY = ".writing-"


class OutputFolder:
    threads = 1

    def __init__(self, folder: Path) -> None:
        self.address, self._folder = str(folder), folder

    @contextmanager
    def writing(self, name: str) -> Iterator[IO[bytes]]:
        path = self._folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f"{_TEMPORARY}{uuid.uuid4().hex}")
        try:
            with temporary.open("w+b") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise

    def read(self, name: str) -> bytes | None:
        try:
            return (self._folder / name).read_bytes()
        except FileNotFoundError:
            return None

    @contextmanager
    def here(self, name: str) -> Iterator[Path | None]:
        path = self._folder / name
        yield path if path.exists() else None

    def names(self, folder: str) -> set[str]:
        try:
            return set(os.listdir(self._folder / folder))
        except FileNotFoundError:
            return set()

    def remove(self, name: str) -> None:
        (self._folder / name).unlink(missing_ok=True)

    @contextmanager
    def locked(self) -> Iterator[None]:
        refusal = BulkRefused(f"another `clipserve bulk` writes to {self.address}: let it end, or stop it")
        with contextlib.ExitStack() as stack:
            try:
                (self._folder / LOCK).parent.mkdir(parents=True, exist_ok=True)
                stack.enter_context(only_here(self._folder / LOCK, refusal, 0o644))
            except OSError as error:
                raise BulkFailed(f"{self.address} can't be written: {error.strerror}") from error
            yield

    def sweep(self) -> None:
        for path in self._folder.rglob(f"{_TEMPORARY}*"):
            path.unlink(missing_ok=True)
