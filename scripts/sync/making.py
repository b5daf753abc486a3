"""A picture that was read → the item that it becomes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from clipserve_client.answers.answers import Item, Limits
from clipserve_client.inputs.inputs import NewItem
from clipserve_client.sources.entries import Loaded
from clipserve_client.sources.files import Skip
from clipserve_client.sources.json_values import carried, within
from clipserve_client.sources.planning import ORIGINAL_FILE, digest
from clipserve_client.sources.preparing import prepared
from scripts.sync.listed import Listed
from scripts.sync.present import DIGEST, FIELD, SyncState

_ROOM = 4096  # bytes of metadata, for `sync` and for what the gateway itself adds
_OURS = (FIELD, DIGEST, ORIGINAL_FILE)
Json = dict[str, Any]


class Made(NamedTuple):
    """`facts` are what the source tells of the picture; `content` is as the gateway takes it, `digest` of the file."""

    content: bytes
    digest: str
    facts: Json
    original: Json
    notes: tuple[str, ...]

    def state(self, source: str, mark: str) -> SyncState:
        return SyncState(source, mark, self.digest, tuple(self.facts))

    def metadata(self, state: SyncState, theirs: Json, sent: str | None) -> Json:
        """`theirs`: fields that others gave the item; `sent`: the digest that the gateway keeps its picture under."""
        return {**theirs, **self.facts, **self.original, **state.field(sent)}


def made(listed: Listed, loaded: Loaded, row: Json, limits: Limits, gps: bool) -> Made:
    """`row` is the manifest's. Raises Skip for what can't be sent."""
    if loaded.content is None:
        raise Skip("no picture")
    ready, of_file = prepared(loaded.content, limits, gps), digest(loaded.content)
    told, odd = carried({**ready.facts, **loaded.metadata, **row.get("metadata", {}), "file": listed.file})
    most_bytes = max(limits.max_metadata_bytes - _ROOM, limits.max_metadata_bytes // 2)
    facts, notes = within({name: value for name, value in told.items() if name not in _OURS}, most_bytes)
    original: Json = {}
    if listed.in_folder:
        as_it_is = ready.content is loaded.content
        original = {ORIGINAL_FILE: {"path": listed.file, **({} if as_it_is else {"digest": of_file})}}
    notes = (*loaded.notes, *row.get("notes", ()), *ready.notes, *odd, *notes)
    return Made(ready.content, of_file, facts, original, notes)


def fields_of_others(item: Item | None, fields: Sequence[str]) -> Json:
    """What somebody else gave the item, beside the `fields` that the source told earlier."""
    known = {*fields, *_OURS}
    return {name: value for name, value in ((item.metadata if item else None) or {}).items() if name not in known}


def new_item(item_id: str, made_of: Made, state: SyncState, theirs: Json) -> NewItem:
    """To be encoded."""
    sent = digest(made_of.content)
    return NewItem(item_id, image=made_of.content, metadata=made_of.metadata(state, theirs, sent), notes=made_of.notes)


def same_vector(item_id: str, donor: Item, made_of: Made, state: SyncState, theirs: Json) -> NewItem:
    """With the vector and the thumbnails of an item that was made of the same file."""
    sent = (donor.metadata or {}).get(DIGEST)
    kept = {DIGEST: sent} if isinstance(sent, str) else {}
    metadata = {**made_of.metadata(state, theirs, kept.get(DIGEST)), **kept}
    return NewItem(item_id, vector=donor.vector, metadata=metadata, notes=made_of.notes)


def patch(item: Item, made_of: Made, state: SyncState, fields: Sequence[str]) -> Json:
    """A merge patch: what the source tells now, without what it told earlier."""
    sent = (item.metadata or {}).get(DIGEST)
    wanted = {**made_of.facts, **state.field(sent if isinstance(sent, str) else None)}
    gone: Json = {name: None for name in fields if name not in made_of.facts and name not in _OURS}
    now = item.metadata or {}
    return gone | {name: _replaced(now.get(name), value) for name, value in wanted.items()}


def _replaced(old: object, new: object) -> object:
    """A merge patch merges objects: keys that are gone must be named."""
    if not (isinstance(old, dict) and isinstance(new, dict)):
        return new
    return {name: None for name in old if name not in new} | {
        name: _replaced(old.get(name), value) for name, value in new.items()
    }
