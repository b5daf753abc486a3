"""A folder of pictures: every picture below it, by name, with what stands beside it."""

from __future__ import annotations

import os
from collections.abc import Iterator

from clipserve_client.ingest.results import Result
from clipserve_client.sources.entries import Entries, Entry, Loaded, SourceGone
from clipserve_client.sources.files import MOST_BYTES, Skip, Stamp, is_within, read, stamp
from clipserve_client.sources.sidecars import About, Listing, about
from clipserve_client.sources.walking import LISTING, Found, Walk


class Folder:
    """An entry's id is its path below the folder, or what `gallery.jsonl` says. `confined`: no link leads out."""

    def __init__(
        self, root: str | os.PathLike[str], *, most_bytes: int = MOST_BYTES, confined: str | None = None
    ) -> None:
        self._root, self._most_bytes = os.fspath(root), most_bytes
        self._real = os.path.realpath(self._root)
        self._within = None if confined is None else os.path.realpath(confined)
        self._check()
        self._walk = Walk(self._root, self._within)
        self._listing = Listing(self._root, self._within)

    def count(self) -> int:
        return len(self._walk) + sum(1 for _ in self._listed_only())

    def entries(self) -> Entries:
        """Raises SourceGone when the folder itself is gone: its files are not failures then."""
        for found in self._walk:
            yield self._skipped(found) if found.skipped else self._entry(found)
        yield from self._listed_only()

    def close(self) -> None:
        self._walk.close()
        self._listing.close()

    def _check(self) -> None:
        if not os.path.isdir(self._root):
            raise SourceGone(f"{self._root} is no folder (any more): is its disk mounted?")

    def _skipped(self, found: Found) -> Result:
        self._check()
        return Result(found.name, "skipped", found.skipped, found.message)

    def _entry(self, found: Found) -> Entry:
        told = about(found.path, found.name, self._listing, self._within)
        return Entry(
            told.id,
            os.fsencode(os.path.abspath(found.path)),
            lambda: self._load(found, told),
            lambda: self._stamp(found),
            told.metadata,
            folder=self._real,
        )

    def _stamp(self, found: Found) -> Stamp:
        self._check_there(found)
        return stamp(found.path)

    def _check_there(self, found: Found) -> None:
        if not os.path.lexists(found.path):
            self._check()

    def _load(self, found: Found, told: About) -> Loaded:
        """Raises Skip."""
        self._check_there(found)
        if self._within is not None and not is_within(found.path, self._within):
            raise Skip("link leads out of the folder")
        content, stamped = read(found.path, self._most_bytes)
        return Loaded(content, metadata=told.metadata, notes=told.notes, stamp=stamped)

    def _listed_only(self) -> Iterator[Result]:
        for name in self._listing.files():
            if not self._walk.has(name):
                yield Result(name, "skipped", "listed, but not in the folder")
        for number, reason, file in self._listing.bad_lines():
            yield Result(f"{LISTING} line {number}", "skipped", reason, file)
