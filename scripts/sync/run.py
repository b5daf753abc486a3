"""One sync: the source and the collection compared, then what is new, changed, moved and gone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any, NamedTuple

from clipserve_client import Client, NewItem, Result
from clipserve_client.answers.answers import Item
from clipserve_client.errors import UnknownCollection, UnknownItem
from clipserve_client.ingest.engine import IN_FLIGHT, RETRY_TIMEOUT_S
from clipserve_client.ingest.engine import run as deliver
from clipserve_client.sources.files import Skip
from clipserve_client.sources.planning import ORIGINAL_FILE, digest_of
from scripts.sync.ahead import ahead
from scripts.sync.changes import Change, Did, Summary
from scripts.sync.listed import Followed, Listed
from scripts.sync.making import Made, fields_of_others, made, new_item, patch, same_vector
from scripts.sync.manifest import Manifest
from scripts.sync.present import (
    Present,
    SyncState,
    digest_of_original,
    is_of_file,
    source_name,
    state_of,
)
from scripts.sync.removals import Unreadable, lost_items, refusal

_PAGE, _PATCHES, _DELETED = 1000, 200, 500
_LONGEST_ID = 512
_UNREADABLE = ("unreadable folder", "vanished or broken link")
Json = dict[str, Any]


@dataclass(frozen=True)
class SyncOptions:
    """`prefix` goes before ids; `name` names the source instead of its address; `again`: read every picture.

    Removals beyond the share `remove_at_most` are not followed, nor those of an empty source without `allow_empty`.
    """

    prefix: str = ""
    name: str | None = None
    gps: bool = False
    again: bool = False
    dry_run: bool = False
    remove_at_most: float = 0.25
    allow_empty: bool = False
    in_flight: int = IN_FLIGHT
    retry_timeout_s: float = RETRY_TIMEOUT_S


class Watcher:
    """What is told while it runs; each does nothing here."""

    def compared(self, pending: int) -> None:
        """So many pictures are to be read."""

    def changed(self, change: Change) -> None:
        """Called with every picture, in any order."""

    def is_in(self) -> None:
        """Something of this source is in the collection."""


def sync(
    client: Client, source: Followed, manifest: Manifest, collection: str, options: SyncOptions, watcher: Watcher
) -> Summary:
    """Raises ClientError, SourceError among them. Whenever it ends, the next one goes on; nothing has to be undone."""
    try:
        name: str | None = client.collection(collection).name  # an alias may be pointed elsewhere meanwhile
    except UnknownCollection:
        name = None
    items = client.items(name, page=_PAGE) if name is not None else iter(())
    mine = source_name(source.address, options.prefix, options.name)
    with closing(Present(((item.id, item.metadata) for item in items), mine)) as present:
        return _Sync(
            client, source, manifest, name or collection, name is not None, mine, present, options, watcher
        ).run()


class _Read(NamedTuple):
    """A picture that was read: what it is made of, or why it is left out."""

    listed: Listed
    mark: str
    made: Made | None
    skip: Skip | None


class _OnTheWay(NamedTuple):
    did: Did
    was: str
    mark: str
    content: str
    file: str
    notes: tuple[str, ...]


class _Sync:
    def __init__(
        self,
        client: Client,
        source: Followed,
        manifest: Manifest,
        collection: str,
        there: bool,
        mine: str,
        present: Present,
        options: SyncOptions,
        watcher: Watcher,
    ) -> None:
        self._client, self._source, self._manifest = client, source, manifest
        self._collection, self._there, self._mine = collection, there, mine
        self._present, self._options, self._watcher = present, options, watcher
        self._summary, self._unreadable = Summary(), Unreadable()
        self._on_the_way: dict[str, _OnTheWay] = {}
        self._claimed: set[str] = set()  # items that moved
        self._patches: dict[str, tuple[Json, _OnTheWay]] = {}
        self._moved_from: list[str] = []

    def run(self) -> Summary:
        self._compare()
        pending = self._present.pending()
        self._watcher.compared(pending)
        if pending:
            self._write()
        self._remove()
        return self._summary

    # What differs

    def _compare(self) -> None:
        files = set[str]() if any(True for _ in self._manifest.files()) else None
        for each in self._source.entries():
            if isinstance(each, Result):
                if each.code in _UNREADABLE:
                    self._unreadable.add(each.id)
                did: Did = "failed" if each.outcome == "failed" else "skipped"
                self._tell(Change(did, each.id, each.code, each.message, notes=each.notes))
                continue
            if files is not None:
                files.add(each.file)
            self._compare_one(each)
        for file in self._manifest.files() if files is not None else ():
            if files is not None and file not in files:
                self._tell(Change("skipped", file, "listed, but not in the source", "it is in the manifest only"))

    def _compare_one(self, listed: Listed) -> None:
        item_id = self._id(listed)
        if len(item_id) > _LONGEST_ID:
            self._unreadable.add(listed.file)  # its item of an earlier id stays
            self._tell(Change("skipped", item_id, "path too long", f"ids have at most {_LONGEST_ID} characters"))
        elif not self._present.see(item_id):
            self._unreadable.add(listed.file)
            self._tell(Change("failed", item_id, "duplicate_id", "another picture of the source has the same id"))
        else:
            try:
                mark = self._mark(listed)
            except Skip as skip:
                self._skip(item_id, skip)
                return
            row = self._present.row(item_id)
            if row is not None and row.ours and row.mark == mark and not self._options.again:
                self._tell(Change("unchanged", item_id))
            else:
                self._present.is_pending(item_id)

    def _id(self, listed: Listed) -> str:
        return self._options.prefix + (self._manifest.row(listed.file).get("id") or listed.id)

    def _mark(self, listed: Listed) -> str:
        """Raises Skip."""
        return digest_of([listed.version(), self._manifest.row(listed.file), self._options.gps])[:24]

    # What is new or changed

    def _write(self) -> None:
        things = self._things()
        if self._options.dry_run:
            for thing in things:
                if isinstance(thing, NewItem):
                    self._done(thing.id)
            self._send_patches()
            return
        if not self._there:
            self._collection, self._there = self._client.ensure_collection(self._collection).name, True
        deliver(
            self._client,
            self._collection,
            things,
            on_result=self._told,
            in_flight=self._options.in_flight,
            retry_timeout_s=self._options.retry_timeout_s,
        )
        self._send_patches()
        self._delete_moved()

    def _things(self) -> Iterator[NewItem | Result]:
        limits = self._client.limits()

        def read(listed: Listed) -> _Read:
            mark = ""
            try:
                mark = self._mark(listed)
                made_of = made(listed, listed.load(), self._manifest.row(listed.file), limits, self._options.gps)
                return _Read(listed, mark, made_of, None)
            except Skip as skip:
                return _Read(listed, mark, None, skip)

        for each in ahead(self._pending(), read, self._source.threads):
            if each.skip is not None or each.made is None:
                self._skip(self._id(each.listed), each.skip or Skip("unreadable"))
                continue
            thing = self._planned(self._id(each.listed), each, each.made)
            if thing is not None:
                yield thing

    def _pending(self) -> Iterator[Listed]:
        for each in self._source.entries():
            if isinstance(each, Listed) and self._present.take(self._id(each)):
                yield each

    def _planned(self, item_id: str, read: _Read, made_of: Made) -> NewItem | None:
        """None where nothing is sent, or only a patch."""
        row, state = self._present.row(item_id), made_of.state(self._mine, read.mark)
        item = self._item(item_id) if row is not None else None
        earlier = state_of(item.metadata) if item is not None else None
        if item is not None and (earlier is None or earlier.source != self._mine):
            if earlier is not None or not is_of_file(item.metadata, read.listed.file, made_of.digest):
                self._tell(
                    Change("failed", item_id, "id_taken", "an item of another source has this id; give a --prefix")
                )
                return None
            earlier = SyncState(self._mine, "", digest_of_original(item.metadata) or "", tuple(made_of.facts))
        fields = earlier.fields if earlier is not None else ()
        same = earlier is not None and earlier.content == made_of.digest
        if item is not None and same and self._stays(item, made_of):
            self._patched(item_id, item, read, made_of, state, fields)
            return None
        theirs = fields_of_others(item, fields)
        donor = self._donor(made_of.digest) or (self._item(item_id, vector=True) if same else None)
        did: Did = "added" if item is None else "changed"
        was = ""
        if donor is not None:
            self._summary.reused += 1
            if item is None and donor.id not in self._claimed and self._is_lost(donor, made_of.digest):
                did, was = "moved", donor.id
                self._claimed.add(donor.id)
                theirs = fields_of_others(donor, (state_of(donor.metadata) or state).fields)
        self._on_the_way[item_id] = _OnTheWay(did, was, read.mark, made_of.digest, read.listed.file, made_of.notes)
        if donor is not None:
            return same_vector(item_id, donor, made_of, state, theirs)
        return new_item(item_id, made_of, state, theirs)

    def _stays(self, item: Item, made_of: Made) -> bool:
        """Whether a patch is enough: the gateway finds the original where it was."""
        return not made_of.original or (item.metadata or {}).get(ORIGINAL_FILE) == made_of.original[ORIGINAL_FILE]

    def _patched(
        self, item_id: str, item: Item, read: _Read, made_of: Made, state: SyncState, fields: tuple[str, ...]
    ) -> None:
        change = patch(item, made_of, state, fields)
        same = all((item.metadata or {}).get(name) == value for name, value in change.items() if name != "sync")
        did: Did = "unchanged" if same and set(change) <= {*made_of.facts, "sync"} else "changed"
        way = _OnTheWay(did, "", read.mark, made_of.digest, read.listed.file, made_of.notes)
        self._patches[item_id] = (change, way)
        if len(self._patches) >= _PATCHES:
            self._send_patches()

    def _item(self, item_id: str, vector: bool = False) -> Item | None:
        if not self._there:  # in a dry run
            return None
        try:
            return self._client.item(self._collection, item_id, vector=vector)
        except UnknownItem:
            return None

    def _donor(self, content: str) -> Item | None:
        """One of our items that is made of the same file now; those that the source has lost come first."""
        for item_id, _ in sorted(self._present.with_content(content), key=lambda each: each[0] in self._claimed):
            item = self._item(item_id, vector=True)
            state = state_of(item.metadata) if item is not None else None
            made_of_it = state is not None and (state.source, state.content) == (self._mine, content)
            if item is not None and item.vector and made_of_it:
                return item
        return None

    def _is_lost(self, item: Item, content: str) -> bool:
        """Not where the folder of its file could only not be read."""
        file = str((item.metadata or {}).get("file", ""))
        return (item.id, True) in self._present.with_content(content) and not self._unreadable.holds(file)

    # What came of it

    def _told(self, result: Result) -> None:
        if result.outcome == "added":
            self._done(result.id)
            self._watcher.is_in()
            if len(self._moved_from) >= _DELETED:
                self._delete_moved()
            return
        way = self._on_the_way.pop(result.id, None)
        if way is not None and way.was:
            self._claimed.discard(way.was)
        self._tell(Change("failed", result.id, result.code, result.message, notes=result.notes))

    def _done(self, item_id: str) -> None:
        way = self._on_the_way.pop(item_id)
        self._present.now(item_id, way.mark, way.content, way.file)
        if way.was:
            self._moved_from.append(way.was)
        self._tell(Change(way.did, item_id, was=way.was, notes=way.notes))

    def _send_patches(self) -> None:
        """The gateway applies a patch once, however often it comes."""
        todo, self._patches = self._patches, {}
        results = {}
        if todo and not self._options.dry_run:
            answered = self._client.update_items(self._collection, {item: patch for item, (patch, _) in todo.items()})
            results = dict(zip(todo, answered, strict=True))
        for item_id, (_, way) in todo.items():
            told = results.get(item_id)
            if told is not None and not told.ok:
                error = told.error or {}
                self._tell(
                    Change("failed", item_id, str(error.get("code")), str(error.get("message")), notes=way.notes)
                )
            else:
                self._present.now(item_id, way.mark, way.content, way.file)
                self._tell(Change(way.did, item_id, notes=way.notes))

    # What is gone

    def _delete_moved(self) -> None:
        gone, self._moved_from = self._moved_from, []
        self._delete(gone)

    def _remove(self) -> None:
        for item_id in self._moved_from if self._options.dry_run else ():
            self._present.forget(item_id)
        known, listed = self._present.ours(), self._present.listed()
        gone = sum(not lost.safe for lost in lost_items(self._present, self._unreadable))
        options = self._options
        self._summary.refused = refusal(gone, known, listed, options.remove_at_most, options.allow_empty)
        batch: list[str] = []
        for lost in lost_items(self._present, self._unreadable):
            if self._summary.refused and not lost.safe:
                self._tell(Change("kept", lost.id, "removal refused"))
                continue
            batch.append(lost.id)
            if len(batch) == _DELETED:
                self._removed(batch)
                batch = []
        self._removed(batch)

    def _removed(self, ids: list[str]) -> None:
        self._delete(ids)
        for item_id in ids:
            self._tell(Change("removed", item_id))

    def _delete(self, ids: list[str]) -> None:
        if ids and not self._options.dry_run:
            self._client.delete_items(self._collection, ids)
            for item_id in ids:
                self._present.forget(item_id)

    # Telling

    def _skip(self, item_id: str, skip: Skip) -> None:
        self._tell(Change("skipped", item_id, skip.reason, skip.message))

    def _tell(self, change: Change) -> None:
        self._summary.count(change)
        self._watcher.changed(change)
