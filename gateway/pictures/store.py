"""The folder of kept pictures. A file is named by the SHA-256 of the picture, so equal pictures are kept once.

    <data_dir>/pictures/thumbnails/ab/ab12….256.webp
    <data_dir>/pictures/originals/ab/ab12…

A file appears whole or not at all. The folder may be deleted while the gateway runs: it is made again. Several gateways
may share it: it is then `pictures_dir`, and the file `copied` in it tells each of what the others did.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from clip_core.errors import StorageFull

_DIGEST = re.compile("[0-9a-f]{64}")
_UNFINISHED = ".part"
_COPIED = "copied"
_LONGEST_WRITE_S = 600.0
ORIGINAL = 0  # in place of a size


def is_digest(value: object) -> bool:
    """What is in metadata may be anything: only SHA-256 in hex becomes a file's name."""
    return isinstance(value, str) and _DIGEST.fullmatch(value) is not None


class PictureStore:
    """At most `max_bytes` of files, and no new ones while the disk has fewer than `min_free_bytes` left.

    Every method may block, and may be called by any thread. `bytes` is what the files take, 0 until `measure` ran.
    """

    threads = 0  # of its own are not needed

    def __init__(self, root: Path, max_bytes: int, min_free_bytes: int) -> None:
        self._root, self._max_bytes, self._min_free_bytes = root, max_bytes, min_free_bytes
        self._lock = threading.Lock()  # between a file that is written or wanted again, and its removal
        self._closed = False
        self.bytes = 0

    def close(self) -> None:
        """Whoever looks through all files stops soon: threads hold up the end of their process."""
        self._closed = True

    def path(self, digest: str, size: int) -> Path:
        """Where the thumbnail of so many pixels is, or the `ORIGINAL`."""
        if size == ORIGINAL:
            return self._root / "originals" / digest[:2] / digest
        return self._root / "thumbnails" / digest[:2] / f"{digest}.{size}.webp"

    def original(self, digest: str) -> Path | None:
        """Where it is, if it was kept."""
        path = self.path(digest, ORIGINAL)
        return path if path.is_file() else None

    def read(self, digest: str, size: int) -> bytes | None:
        """None where there is no such file."""
        with suppress(OSError):
            return self.path(digest, size).read_bytes() or None
        return None

    def has(self, digest: str, sizes: tuple[int, ...]) -> bool:
        """Whether all are there. They count as new from now on, so that `remove_unused` leaves them alone."""
        with self._lock:
            try:
                for size in sizes:
                    os.utime(self.path(digest, size))
            except OSError:
                return False
        return True

    def want(self, digests: Sequence[str], sizes: tuple[int, ...]) -> None:
        """What is there of them counts as new."""
        for digest in digests:
            for size in sizes:
                self.has(digest, (size,))

    def write(self, digest: str, contents: Mapping[int, bytes]) -> None:
        """Raises StorageFull where there is no room left, OSError for anything else."""
        needed = sum(map(len, contents.values()))
        if self.bytes + needed > self._max_bytes:
            raise StorageFull(f"the pictures take the {self._max_bytes} bytes that they may")
        self._root.mkdir(parents=True, exist_ok=True)
        if shutil.disk_usage(self._root).free - needed < self._min_free_bytes:
            raise StorageFull(f"the disk of {self._root} is nearly full")
        for size, content in contents.items():
            self._write(self.path(digest, size), content)

    def _write(self, path: Path, content: bytes) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, part = tempfile.mkstemp(suffix=_UNFINISHED, dir=path.parent)
        try:
            with open(handle, "wb") as file:
                file.write(content)
            with self._lock:
                before = _size(path)
                os.replace(part, path)
                self.bytes += len(content) - before
        except BaseException:
            with suppress(OSError):
                os.unlink(part)
            raise

    def measure(self) -> None:
        """Count what is there. What is written meanwhile counts, even twice: the bound holds.

        What a killed process left unfinished is removed; what is being written now is not.
        """
        found, before, known = 0, time.time() - _LONGEST_WRITE_S, self.bytes
        for path in self._files():
            if path.suffix == _UNFINISHED:
                self._remove_if_old(path, before, counted=False)
            else:
                found += _size(path)
        with self._lock:
            self.bytes += found - known

    def note_copy(self) -> None:
        """For the other gateways that share this folder."""
        with suppress(OSError):
            (self._root / _COPIED).touch(mode=0o600)

    def last_copy(self) -> int:
        """Changes with each `note_copy` of any gateway."""
        with suppress(OSError):
            return (self._root / _COPIED).stat().st_mtime_ns
        return 0

    def remove_unused(self, is_used: Callable[[str], bool], older_than_s: float) -> int:
        """Remove the files of pictures that are not used, and were not asked for so long. Gives their number."""
        removed, now = 0, time.time()
        for path in self._files():
            if not is_used(path.name[:64]):
                removed += self._remove_if_old(path, now - older_than_s, counted=path.suffix != _UNFINISHED)
        return removed

    def _remove_if_old(self, path: Path, before: float, *, counted: bool = True) -> bool:
        with self._lock, suppress(OSError):
            about = path.stat()
            if about.st_mtime >= before:
                return False
            path.unlink()
            self.bytes -= about.st_size if counted else 0
            return True
        return False

    def _files(self) -> Iterator[Path]:
        for kind in ("thumbnails", "originals"):
            for folder, _, names in os.walk(self._root / kind):
                for name in names:
                    if self._closed:
                        return
                    yield Path(folder, name)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
