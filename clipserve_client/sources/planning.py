"""What becomes of an entry: sent, unchanged since an earlier run, or left out and why."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, Protocol

from clipserve_client.answers.answers import Limits
from clipserve_client.ingest.results import Result
from clipserve_client.inputs.inputs import NewItem
from clipserve_client.sources.entries import Entry, Loaded
from clipserve_client.sources.files import Skip, Stamp, is_within
from clipserve_client.sources.json_values import within
from clipserve_client.sources.preparing import prepared

_LONGEST_ID = 512
_ROOM = 256  # bytes of metadata, for what the gateway itself adds
ORIGINAL_FILE = "original_file"  # the field of metadata by which the gateway finds an item's file
NO_STAMP = Stamp(-1, -1)


class Known(NamedTuple):
    """Of an item that was sent. `digest` is of what it is made of, `about` of what was known before it was read."""

    path: bytes
    stamp: Stamp
    digest: str
    about: str


class Remembers(Protocol):
    """What earlier runs sent, by id."""

    def known(self, item_id: str) -> Known | None: ...

    def remember(self, items: Iterable[tuple[str, Known]]) -> None: ...


class Planned(NamedTuple):
    """`known` is what to remember of the item once it is added."""

    thing: NewItem | Result
    known: Known | None = None


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def digest_of(value: Any) -> str:
    return digest(json.dumps(value, sort_keys=True).encode())


class Planner:
    """`present` says whether an id is in the collection; `scales`: too large pictures are scaled down here.

    In errors, `shown` is how a file's path is named, and `prefix_option` what the caller gives a prefix with.
    """

    def __init__(
        self,
        memory: Remembers,
        limits: Limits,
        present: Callable[[str], bool],
        *,
        prefix: str = "",
        gps: bool = False,
        again: bool = False,
        scales: bool = True,
        shown: Callable[[str], str] = str,
        prefix_option: str = "--prefix",
    ) -> None:
        self._memory, self._limits, self._present = memory, limits, present
        self._prefix, self._gps, self._again, self._scales = prefix, gps, again, scales
        self._shown, self._prefix_option = shown, prefix_option

    def plan(self, entry: Entry | Result) -> Planned:
        if isinstance(entry, Result):
            return Planned(entry)
        item_id = self._prefix + entry.id
        try:
            return self._planned(item_id, entry)
        except Skip as skip:
            return Planned(Result(item_id, "skipped", skip.reason, skip.message))

    def _planned(self, item_id: str, entry: Entry) -> Planned:
        """Raises Skip."""
        if len(item_id) > _LONGEST_ID:
            raise Skip("path too long" if entry.named else "id too long", f"ids have at most {_LONGEST_ID} characters")
        known = None if self._again else self._memory.known(item_id)
        if known is not None and entry.named and _is_of_another_source(known.path, entry):
            return Planned(self._taken(item_id, known))
        about = digest_of([entry.about, self._gps])
        if known is not None and (known.about != about or not self._present(item_id)):
            known = None
        if known is not None and known.stamp == entry.stamp():
            return Planned(Result(item_id, "unchanged"))
        loaded = entry.load()
        now = Known(entry.path, loaded.stamp or NO_STAMP, _digest(loaded), about)
        if known is not None and known.digest == now.digest:
            self._memory.remember([(item_id, now)])
            return Planned(Result(item_id, "unchanged"))
        return Planned(self._item(item_id, entry, loaded), now)

    def _taken(self, item_id: str, known: Known) -> Result:
        path = self._shown(os.fsdecode(known.path)).encode("utf-8", "replace").decode()
        message = f"{path!r} is in the collection under this id; give another {self._prefix_option}"
        return Result(item_id, "failed", "id_taken", message)

    def _item(self, item_id: str, entry: Entry, loaded: Loaded) -> NewItem:
        """Raises Skip."""
        if loaded.content is None:
            metadata, notes = self._within(loaded.metadata)
            return NewItem(item_id, loaded.text, loaded.url, metadata=metadata, notes=loaded.notes + notes)
        ready = prepared(loaded.content, self._limits, self._gps, scales=self._scales)
        original = original_file(entry, loaded.content, ready.content)
        metadata, notes = self._within({**ready.facts, **loaded.metadata, **original})
        return NewItem(item_id, image=ready.content, metadata=metadata, notes=loaded.notes + ready.notes + notes)

    def _within(self, metadata: dict[str, Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
        return within(metadata, self._limits.max_metadata_bytes - _ROOM)


def original_file(entry: Entry, content: bytes, sent: bytes) -> dict[str, Any]:
    """Of a picture in a folder: its path there, and the digest of its `content` where something else is `sent`."""
    if entry.folder is None:
        return {}
    told = {"path": entry.about["file"]}
    return {ORIGINAL_FILE: told if sent is content else {**told, "digest": digest(content)}}


def _is_of_another_source(path: bytes, entry: Entry) -> bool:
    """Whether the file at `path` is there and is read by no entry of this source, by whatever way it is reached."""
    if path == entry.path or not os.path.exists(path):
        return False
    if entry.folder is not None:
        return not is_within(os.fsdecode(path), entry.folder)
    return os.path.realpath(path) != os.path.realpath(entry.path)


def _digest(loaded: Loaded) -> str:
    made_of = hashlib.sha256(loaded.content or b"")
    made_of.update(json.dumps([loaded.url, loaded.text, loaded.metadata], sort_keys=True).encode())
    return made_of.hexdigest()
