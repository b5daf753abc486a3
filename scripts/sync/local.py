"""A folder on this machine, followed."""

from __future__ import annotations

import os
from collections.abc import Iterator

from clipserve_client.ingest.results import Result
from clipserve_client.sources.entries import Entry, SourceError, SourceGone
from clipserve_client.sources.folder import Folder
from scripts.sync.listed import Listed

_THREADS = 2


class LocalFolder:
    """Walked once; links are followed as `clipserve ingest` does."""

    def __init__(self, path: str) -> None:
        """Raises SourceGone, SourceError for a file."""
        if os.path.isfile(path):
            raise SourceError(f"{path} is a file: a folder or a bucket is followed; `clipserve ingest` reads files")
        self.address, self.threads = f"file://{os.path.realpath(path)}", _THREADS
        self._folder = Folder(path)
        try:
            os.scandir(path).close()
        except OSError as error:  # not as a subfolder, which is left out while the others go on
            raise SourceGone(f"{path} can't be read: {error.strerror}") from error

    def entries(self) -> Iterator[Listed | Result]:
        """Raises SourceGone."""
        for entry in self._folder.entries():
            yield entry if isinstance(entry, Result) else _listed(entry)

    def close(self) -> None:
        self._folder.close()


def _listed(entry: Entry) -> Listed:
    return Listed(entry.id, entry.about["file"], lambda: [entry.stamp(), entry.about], entry.load, in_folder=True)


def folder_state(path: str) -> object:
    """Changes when a file below it comes, goes or changes; it is compared while the folder is watched.

    Raises OSError when the folder itself can't be read.
    """
    seen: set[tuple[int, int]] = set()
    found: list[tuple[str, int, int]] = []
    todo = [path]
    os.scandir(path).close()
    while todo:
        folder = todo.pop()
        try:
            about = os.stat(folder)
            if (about.st_dev, about.st_ino) in seen:
                continue
            seen.add((about.st_dev, about.st_ino))
            with os.scandir(folder) as entries:
                for entry in entries:
                    if not entry.name.startswith("."):
                        _look_at(entry, found, todo)
        except OSError:
            found.append((folder, -1, -1))
    return hash(tuple(sorted(found)))


def _look_at(entry: os.DirEntry[str], found: list[tuple[str, int, int]], todo: list[str]) -> None:
    try:
        if entry.is_dir():
            todo.append(entry.path)
            return
        about = entry.stat()
    except OSError:  # a link that is broken, or that leads in a circle
        found.append((entry.path, -1, -1))
    else:
        found.append((entry.path, about.st_size, about.st_mtime_ns))
