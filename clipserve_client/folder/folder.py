"""A folder of pictures, tars, a Parquet file or URLs → a collection. A second run sends only what is new or changed."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from clipserve_client.answers.answers import Collection
from clipserve_client.client import Client
from clipserve_client.errors import UnknownCollection
from clipserve_client.folder.memory import Memory, memory_path
from clipserve_client.folder.report import Report
from clipserve_client.ingest.engine import IN_FLIGHT, RETRY_TIMEOUT_S, run
from clipserve_client.ingest.results import Result, Tally
from clipserve_client.inputs.inputs import CaptionWanted, NewItem
from clipserve_client.sources.entries import Entry, Source
from clipserve_client.sources.folder import Folder
from clipserve_client.sources.opening import Several, open_path
from clipserve_client.sources.planning import Known, Planner, digest_of

_PAGE = 500
OnBegin = Callable[[int], object]
OnResult = Callable[[Result], object]
OnFolder = Callable[[str], object]


@dataclass(frozen=True)
class FolderOptions:
    """`prefix` goes before every id; `gps`: positions from EXIF become metadata; `force`: send everything;
    `caption`: the gateway captions pictures without a caption, "llm": by its language model; `remember`: in the
    user's cache, what was sent;
    `report`: a file of JSON lines. The others are of `Client.ingest`.
    """

    prefix: str = ""
    gps: bool = False
    force: bool = False
    caption: CaptionWanted = False
    remember: bool = True
    report: Path | None = None
    in_flight: int = IN_FLIGHT
    retry_timeout_s: float = RETRY_TIMEOUT_S


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
    return _ingest(client, lambda: Folder(folder), collection, options or FolderOptions(), on_begin, on_result)


def ingest_paths(
    client: Client,
    paths: Sequence[str | os.PathLike[str]],
    collection: str,
    options: FolderOptions | None = None,
    *,
    on_begin: OnBegin | None = None,
    on_result: OnResult | None = None,
    on_folder: OnFolder | None = None,
) -> Tally:
    """As `ingest_folder`, for folders, webdataset tars, Parquet files and text files of URLs; patterns such as `*.tar`.

    `on_begin` is called only where the number of results is known beforehand; `on_folder` with each folder, its links
    resolved, once something of it is in the collection. Raises SourceError, too.
    """

    def opened() -> Source:
        sources = [open_path(path) for path in paths]
        return sources[0] if len(sources) == 1 else Several(sources)

    return _ingest(client, opened, collection, options or FolderOptions(), on_begin, on_result, on_folder)


@dataclass(frozen=True)
class IngestPlan:
    """How many items a run would send, how many of them it would caption, and what it would leave as it is."""

    sent: int
    captioned: int
    unchanged: int
    skipped: int


def plan_paths(
    client: Client, paths: Sequence[str | os.PathLike[str]], collection: str, options: FolderOptions | None = None
) -> IngestPlan:
    """What `ingest_paths` would do now: reads everything and sends nothing. Raises as it does."""
    wanted = options or FolderOptions()
    counted: Counter[str] = Counter()
    with closing(Several([open_path(path) for path in paths])) as source:
        path = memory_path(client.target.url, collection) if wanted.remember else None
        there = _there(client, collection)
        with closing(Memory(path, _identity(there))) as memory:
            for thing in _Work(client, collection, source, memory, wanted, True, None).things():
                if isinstance(thing, NewItem):
                    counted["sent"] += 1
                    counted["captioned"] += bool(thing.caption) and "caption" not in thing.metadata
                else:
                    counted[thing.outcome] += 1
    return IngestPlan(counted["sent"], counted["captioned"], counted["unchanged"], counted["skipped"])


def _ingest(
    client: Client,
    opened: Callable[[], Source],
    collection: str,
    options: FolderOptions,
    on_begin: OnBegin | None,
    on_result: OnResult | None,
    on_folder: OnFolder | None = None,
) -> Tally:
    source, report = opened(), Report(options.report)
    try:
        path = memory_path(client.target.url, collection) if options.remember else None
        there = _there(client, collection)
        memory = Memory(path, _identity(there))
        try:
            work = _Work(client, collection, source, memory, options, there is not None, on_folder)
            total = source.count()
            if on_begin is not None and total is not None:
                on_begin(total)

            def told(result: Result) -> None:
                work.remember(result)
                report.write(result)
                if on_result is not None:
                    on_result(result)

            return run(
                client,
                collection,
                work.things(),
                on_result=told,
                in_flight=options.in_flight,
                retry_timeout_s=options.retry_timeout_s,
            )
        finally:
            memory.close()
    finally:
        report.close()
        source.close()


def _there(client: Client, collection: str) -> Collection | None:
    try:
        return client.collection(collection)
    except UnknownCollection:
        return None


def _identity(described: Collection | None) -> str:
    """Another one when the collection was dropped and made again, or when another one is behind the alias."""
    if described is None:
        return ""
    return digest_of([described.name, described.fingerprint, described.raw.get("created")])


def _present(client: Client, collection: str, memory: Memory, options: FolderOptions) -> set[str]:
    """The ids in the collection, asked for only where something may be unchanged."""
    if options.force or memory.is_empty():
        return set()
    return {item.id for item in client.items(collection, page=_PAGE)}


class _Work:
    """The source's entries as what `run` takes, and what is to be remembered of them.

    A collection that is not `there` is made when there is something to put in.
    """

    def __init__(
        self,
        client: Client,
        collection: str,
        source: Source,
        memory: Memory,
        options: FolderOptions,
        there: bool,
        on_folder: OnFolder | None,
    ) -> None:
        present = _present(client, collection, memory, options)
        self._planner = Planner(
            memory,
            client.limits(),
            present.__contains__,
            prefix=options.prefix,
            gps=options.gps,
            again=options.force,
        )
        self._client, self._collection, self._there = client, collection, there
        self._source, self._memory, self._on_folder = source, memory, on_folder
        self._caption = options.caption
        self._on_the_way: dict[str, tuple[Known, str | None]] = {}  # what to remember of an item, and its folder
        self._folders: set[str | None] = {None}  # those that were told

    def things(self) -> Iterator[NewItem | Result]:
        for entry in self._source.entries():
            thing, known = self._planner.plan(entry)
            folder = entry.folder if isinstance(entry, Entry) else None
            if isinstance(thing, NewItem):
                self._make_collection()
                if known is not None:
                    self._on_the_way.setdefault(thing.id, (known, folder))
                thing = replace(thing, caption=self._caption if thing.image is not None else False)
            elif thing.outcome == "unchanged":
                self._is_in(folder)
            yield thing

    def _make_collection(self) -> None:
        if not self._there:
            self._memory.is_of(_identity(self._client.ensure_collection(self._collection)))
            self._there = True

    def remember(self, result: Result) -> None:
        if result.code == "duplicate_id":
            return
        known, folder = self._on_the_way.pop(result.id, (None, None))
        if known is not None and result.outcome == "added":
            self._memory.remember([(result.id, known)])
            self._is_in(folder)

    def _is_in(self, folder: str | None) -> None:
        if folder not in self._folders and self._on_folder is not None:
            self._on_folder(str(folder))
        self._folders.add(folder)
