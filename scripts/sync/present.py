"""What is in the collection: of each item whose it is, and of which version of which file.

An item carries that itself, in the metadata field `sync`. It is written together with the vector, so the two never
disagree, whenever a sync ends and on whichever machine the next one runs.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from clipserve_client.sources.planning import ORIGINAL_FILE, digest

Json = dict[str, Any]
FIELD = "sync"
DIGEST = "digest"  # the gateway's: SHA-256 of the bytes that were sent
_PAGE = 500
_SCHEMA = """
CREATE TABLE items (id TEXT PRIMARY KEY, ours INTEGER, mark TEXT, content TEXT, file TEXT) WITHOUT ROWID;
CREATE TABLE source (id TEXT PRIMARY KEY, pending INTEGER) WITHOUT ROWID;
"""


class SyncState(NamedTuple):
    """`mark` is of the version that was seen, `content` the SHA-256 of the file, `fields` what the source told."""

    source: str
    mark: str
    content: str
    fields: tuple[str, ...]

    def field(self, sent: str | None) -> Json:
        """As it is kept; the digest of a file that was `sent` as it is stands in the item already."""
        content = {} if self.content == sent else {"content": self.content}
        return {FIELD: {"source": self.source, "mark": self.mark, **content, "fields": list(self.fields)}}


def state_of(metadata: Json | None) -> SyncState | None:
    """None for an item that no sync made, or whose field somebody changed."""
    told = (metadata or {}).get(FIELD)
    if not isinstance(told, dict):
        return None
    source, mark, fields = told.get("source"), told.get("mark"), told.get("fields")
    content = told.get("content", (metadata or {}).get(DIGEST))
    if not (
        isinstance(source, str) and isinstance(mark, str) and isinstance(content, str) and isinstance(fields, list)
    ):
        return None
    return SyncState(source, mark, content, tuple(map(str, fields)))


def source_name(address: str, prefix: str, name: str | None) -> str:
    """What items say of their source: a name that was given, or a digest, which tells no path to who searches."""
    return name or digest(f"{address}\0{prefix}".encode())[:16]


class PresentItem(NamedTuple):
    ours: bool
    mark: str
    content: str


class Present:
    """Items by id, in a temporary file of SQLite's. `source`: the entries of the source, as they are listed."""

    def __init__(self, items: Iterable[tuple[str, Json | None]], source: str) -> None:
        self._db = sqlite3.connect("", isolation_level=None)
        self._db.execute("PRAGMA synchronous = OFF")
        self._db.executescript(_SCHEMA)
        self._db.execute("BEGIN")
        self._db.executemany("INSERT OR REPLACE INTO items VALUES (?, ?, ?, ?, ?)", _rows(items, source))
        self._db.execute("COMMIT")
        self._db.execute("CREATE INDEX contents ON items (content)")
        self._db.execute("BEGIN")

    def close(self) -> None:
        self._db.close()

    def row(self, item_id: str) -> PresentItem | None:
        found = self._db.execute("SELECT ours, mark, content FROM items WHERE id = ?", (item_id,)).fetchone()
        return None if found is None else PresentItem(bool(found[0]), found[1], found[2])

    def see(self, item_id: str) -> bool:
        """An entry of the source. False for a second one of the same id."""
        return bool(self._db.execute("INSERT OR IGNORE INTO source VALUES (?, 0)", (item_id,)).rowcount)

    def is_pending(self, item_id: str) -> None:
        self._db.execute("UPDATE source SET pending = 1 WHERE id = ?", (item_id,))

    def take(self, item_id: str) -> bool:
        """Whether it is pending; it is not any more."""
        return bool(self._db.execute("UPDATE source SET pending = 0 WHERE id = ? AND pending", (item_id,)).rowcount)

    def pending(self) -> int:
        return int(self._db.execute("SELECT count(*) FROM source WHERE pending").fetchone()[0])

    def listed(self) -> int:
        return int(self._db.execute("SELECT count(*) FROM source").fetchone()[0])

    def ours(self) -> int:
        return int(self._db.execute("SELECT count(*) FROM items WHERE ours").fetchone()[0])

    def lost(self) -> Iterator[tuple[str, str, str]]:
        """(id, file, content) of our items that the source has not any more."""
        after = ""
        query = (
            "SELECT id, file, content FROM items WHERE ours AND id > ? AND id NOT IN (SELECT id FROM source)"
            " ORDER BY id LIMIT ?"
        )
        while found := self._db.execute(query, (after, _PAGE)).fetchall():
            yield from found
            after = found[-1][0]

    def with_content(self, content: str) -> list[tuple[str, bool]]:
        """Ids of our items made of it, and whether the source has lost them; those first."""
        query = (
            "SELECT id, id NOT IN (SELECT id FROM source) AS lost FROM items WHERE content = ? AND ours"
            " ORDER BY lost DESC, id LIMIT 20"
        )
        return [(item_id, bool(lost)) for item_id, lost in self._db.execute(query, (content,))]

    def has_twin(self, content: str) -> bool:
        """Whether one of our items that the source has is made of it."""
        query = "SELECT 1 FROM items WHERE content = ? AND ours AND id IN (SELECT id FROM source) LIMIT 1"
        return self._db.execute(query, (content,)).fetchone() is not None

    def now(self, item_id: str, mark: str, content: str, file: str) -> None:
        """It was written."""
        self._db.execute("INSERT OR REPLACE INTO items VALUES (?, 1, ?, ?, ?)", (item_id, mark, content, file))

    def forget(self, item_id: str) -> None:
        self._db.execute("DELETE FROM items WHERE id = ?", (item_id,))


def _rows(items: Iterable[tuple[str, Json | None]], source: str) -> Iterator[tuple[str, int, str, str, str]]:
    for item_id, metadata in items:
        state = state_of(metadata)
        ours = state is not None and state.source == source
        told = state if ours and state is not None else SyncState("", "", "", ())
        yield item_id, int(ours), told.mark, told.content, str((metadata or {}).get("file", ""))


def is_of_file(metadata: Json | None, file: str, content: str) -> bool:
    """Whether an earlier `clipserve ingest` made the item of this file, or `clipserve bulk` of it and this content."""
    told = metadata or {}
    original = told.get(ORIGINAL_FILE)
    if isinstance(original, dict):
        return original.get("path") == file
    return (told.get("file"), told.get(DIGEST)) == (file, content)


def digest_of_original(metadata: Json | None) -> str | None:
    """SHA-256 of the file that an earlier `clipserve ingest` read."""
    told = (metadata or {}).get(ORIGINAL_FILE)
    given = told.get("digest") if isinstance(told, dict) else None
    found = given or (metadata or {}).get(DIGEST)
    return found if isinstance(found, str) else None
