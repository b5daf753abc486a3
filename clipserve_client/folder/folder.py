"""A folder of pictures → a collection. A second run sends only what is new or has changed."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from clipserve_client.answers.answers import Collection, Limits
from clipserve_client.client import Client
from clipserve_client.folder.files import Skip, read, stamp
from clipserve_client.folder.memory import Known, Memory, digest, digest_of, memory_path
from clipserve_client.folder.preparing import prepared
from clipserve_client.folder.report import Report
from clipserve_client.folder.sidecars import About, Listing, about
from clipserve_client.folder.walking import LISTING, Found, walk
from clipserve_client.ingest.engine import IN_FLIGHT, PATIENCE_S
from clipserve_client.ingest.results import Result, Tally
from clipserve_client.inputs.inputs import NewItem

_LONGEST_ID = 512
_PAGE = 500
OnBegin = Callable[[int], object]
OnResult = Callable[[Result], object]


@dataclass(frozen=True)
class FolderOptions:
    """`prefix` goes before every id; `gps`: positions from EXIF become metadata; `again`: send everything;
    `remember`: in the user's cache, what was sent; `report`: a file of JSON lines. The others are of `Client.ingest`.
    """

    prefix: str = ""
    gps: bool = False
    again: bool = False
    remember: bool = True
    report: Path | None = None
    in_flight: int = IN_FLIGHT
    patience_s: float = PATIENCE_S


def ingest_folder(
    client: Client,
    folder: str | os.PathLike[str],
    collection: str,
    options: FolderOptions | None = None,
    *,
    on_begin: OnBegin | None = None,
    on_result: OnResult | None = None,
) -> Tally:
    """Every picture below `folder`, which is read in a fixed order. `on_begin` is told how many results there will be.

    Raises NotADirectoryError, what `Client.ingest` raises, and KeyboardInterrupt; what was told as added is in the
    collection, and the next run goes on from there.
    """
    if not os.path.isdir(folder):
        raise NotADirectoryError(f"{os.fspath(folder)} is no folder")
    wanted = options or FolderOptions()
    described = client.ensure_collection(collection)
    path = memory_path(client.target.url, collection) if wanted.remember else None
    memory = Memory(path, _identity(described))
    report = Report(wanted.report)
    try:
        work = _Work(os.fspath(folder), wanted, client.limits(), memory, _present(client, collection, memory, wanted))
        if on_begin is not None:
            on_begin(len(work.found))

        def told(result: Result) -> None:
            work.remember(result)
            report.write(result)
            if on_result is not None:
                on_result(result)

        return client.ingest(
            collection, work.things(), on_result=told, in_flight=wanted.in_flight, patience_s=wanted.patience_s
        )
    finally:
        report.close()
        memory.close()


def _identity(described: Collection) -> str:
    """Another one when the collection was dropped and made again, or when another one is behind the alias."""
    return digest_of([described.name, described.fingerprint, described.raw.get("created")])


def _present(client: Client, collection: str, memory: Memory, options: FolderOptions) -> set[str]:
    """The ids in the collection, asked for only where something may be unchanged."""
    if options.again or memory.is_empty():
        return set()
    return {item.id for item in client.items(collection, page=_PAGE)}


class _Work:
    """The folder's files as what `Client.ingest` takes, and what is to be remembered of them."""

    def __init__(self, root: str, options: FolderOptions, limits: Limits, memory: Memory, present: set[str]) -> None:
        self._options, self._limits, self._memory, self._present = options, limits, memory, present
        self._listing = Listing.read(root)
        self.found = list(walk(root))
        self.found += list(self._listed_only(root, {each.name for each in self.found}))
        self._on_the_way: dict[str, Known] = {}

    def _listed_only(self, root: str, names: set[str]) -> Iterator[Found]:
        for name in self._listing.missing(names):
            yield Found(os.path.join(root, name), name, "listed, but not in the folder")
        for number in self._listing.bad_lines:
            yield Found("", f"{LISTING} line {number}", "a line of the listing is not read")

    def things(self) -> Iterator[NewItem | Result]:
        for found in self.found:
            yield self._thing(found)

    def _thing(self, found: Found) -> NewItem | Result:
        if found.skipped:
            return Result(found.name, "skipped", found.skipped, found.message)
        told = about(found.path, found.name, self._listing, self._options.prefix)
        try:
            return self._item(found, told)
        except Skip as skip:
            return Result(told.id, "skipped", skip.reason, skip.message, told.notes)

    def _item(self, found: Found, told: About) -> NewItem | Result:
        """Raises Skip."""
        if len(told.id) > _LONGEST_ID:
            raise Skip("path too long", f"ids have at most {_LONGEST_ID} characters")
        path = os.fsencode(os.path.abspath(found.path))
        told_digest = digest_of([told.metadata, self._options.gps])
        known = None if self._options.again else self._memory.known(told.id)
        if known is not None and known.path != path and os.path.exists(known.path):
            message = f"{os.fsdecode(known.path)!r} is in the collection under this id; give another --prefix"
            return Result(told.id, "failed", "id_taken", message.encode("utf-8", "replace").decode(), told.notes)
        unchanged = known is not None and known.about == told_digest and told.id in self._present
        if known is not None and unchanged and known.stamp == stamp(found.path):
            return Result(told.id, "unchanged")
        content, stamped = read(found.path)
        now = Known(path, stamped, digest(content), told_digest)
        if known is not None and unchanged and known.digest == now.digest:
            self._memory.remember([(told.id, now)])
            return Result(told.id, "unchanged")
        ready = prepared(content, self._limits, self._options.gps)
        self._on_the_way[told.id] = now
        return NewItem(
            told.id, image=ready.content, metadata={**ready.facts, **told.metadata}, notes=told.notes + ready.notes
        )

    def remember(self, result: Result) -> None:
        known = self._on_the_way.pop(result.id, None)
        if known is not None and result.outcome == "added":
            self._memory.remember([(result.id, known)])
