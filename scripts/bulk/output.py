"""The folder that a run writes: what is in it, that it is of this run, and that one driver has it.

`_bulk/run.json` says what was asked for, `_bulk/shards.jsonl` how the source was cut, `_bulk/done/NNNNN.json` what
became of a shard. A shard's files are written beside their places, then renamed; `done` comes last. So a shard
without it is written again as a whole.
"""

from __future__ import annotations

import contextlib
import json
import os
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from scripts.bulk.errors import BulkFailed, BulkRefused
from scripts.bulk.shards import Done, Shard, read_done, read_shard

_TEMPORARY = ".writing-"
Json = dict[str, Any]


class Output:
    """Paths below `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.about = folder / "_bulk"

    @property
    def run(self) -> Path:
        return self.about / "run.json"

    @property
    def shards(self) -> Path:
        return self.about / "shards.jsonl"

    def files(self, shard: Shard) -> Path:
        return self.about / "files" / f"{shard.name}.json"

    def done(self, shard: Shard) -> Path:
        return self.about / "done" / f"{shard.name}.json"

    def bad(self, shard: Shard) -> Path:
        return self.about / "bad" / f"{shard.name}.parquet"

    def tries(self, shard: Shard) -> Path:
        return self.about / "tries" / shard.name

    def sent(self, shard: Shard, collection: str) -> Path:
        return self.about / "sent" / collection / shard.name

    def read_shards(self) -> Iterator[Shard]:
        if self.shards.exists():
            with self.shards.open(encoding="utf-8") as file:
                yield from map(read_shard, file)

    def read_done(self, shard: Shard) -> Done | None:
        try:
            return read_done(self.done(shard).read_text(encoding="utf-8"))
        except (OSError, ValueError, TypeError):
            return None

    def begin(self, asked: Mapping[str, Any]) -> None:
        """Note what is asked for, or check that it is what was asked for before. Raises BulkRefused, BulkFailed."""
        if not self.shards.exists():
            self._check_empty()
            write_text(self.run, json.dumps(dict(asked), indent=2) + "\n")
            return
        try:
            before = json.loads(self.run.read_text(encoding="utf-8"))
        except OSError as error:
            raise BulkRefused(f"{self.run} can't be read: {error.strerror}") from error
        except ValueError:
            raise BulkRefused(f"{self.run} is damaged: remove {self.folder}, and begin anew") from None
        differing = [name for name in asked if before.get(name) != asked[name]]
        if differing:
            told = "; ".join(f"{name} was {before.get(name)!r} and is {asked[name]!r}" for name in differing)
            raise BulkRefused(f"{self.folder} is of another run: {told}. Name another --out, or remove this one")

    def _check_empty(self) -> None:
        others = [path.name for path in self.folder.iterdir() if path.name != "_bulk"]
        if others:
            raise BulkRefused(f"{self.folder} is not empty, and of no run of `clipserve bulk`: {others[0]}")

    def sweep(self) -> None:
        """Remove what an earlier run left unfinished."""
        for path in self.folder.rglob(f"{_TEMPORARY}*"):
            path.unlink(missing_ok=True)
        for path in (self.about / "tries").glob("*"):
            path.unlink(missing_ok=True)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Raises BulkRefused while another driver has it, and BulkFailed."""
        import fcntl

        try:
            self.about.mkdir(parents=True, exist_ok=True)
            file = os.open(self.about / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise BulkFailed(f"{self.folder} can't be written: {error.strerror}") from error
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(file)
            raise BulkRefused(f"another `clipserve bulk` writes to {self.folder}: let it end, or stop it") from None
        try:
            yield
        finally:
            os.close(file)


@contextmanager
def written_whole(path: Path) -> Iterator[IO[bytes]]:
    """A file that is at its place only once it is whole, and on disk."""
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


def write_text(path: Path, text: str) -> None:
    with written_whole(path) as file:
        file.write(text.encode())
