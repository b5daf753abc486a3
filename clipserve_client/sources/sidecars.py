"""What stands beside pictures: `gallery.jsonl` for the folder, `NAME.json` and `NAME.txt` for one picture."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from clipserve_client.sources.files import is_within, lines
from clipserve_client.sources.json_values import carried, is_text, read_object
from clipserve_client.sources.spool import Spool
from clipserve_client.sources.walking import LISTING, readable

Json = dict[str, Any]
MOST_BYTES = 256 * 1024  # of a sidecar
_LONGEST_LINE = 1024 * 1024  # bytes


@dataclass(frozen=True)
class About:
    """Of one picture: its id in the collection, its metadata, and what could not be read about it."""

    id: str
    metadata: Json
    notes: tuple[str, ...] = ()


class Listing:
    """`gallery.jsonl`, if there is one: a line is {"id", "file", "caption", "metadata"}; only `file` is needed."""

    def __init__(self, root: str, within: str | None = None) -> None:
        self._rows, self._bad = Spool(), Spool()
        path = os.path.join(root, LISTING)
        if os.path.isfile(path) and (within is None or is_within(path, within)):
            self._read(path)

    def close(self) -> None:
        self._rows.close()
        self._bad.close()

    def row(self, name: str) -> Json:
        found = self._rows.get(name.encode())
        return {} if found is None else read_object(found) or {}

    def files(self) -> Iterator[str]:
        """All that are listed."""
        return (name.decode() for name, _ in self._rows)

    def bad_lines(self) -> Iterator[tuple[int, str, str]]:
        """The number of each line that is not used, why, and the file that it is about."""
        return ((int(number), *json.loads(why)) for number, why in self._bad)

    def _read(self, path: str) -> None:
        try:
            with open(path, "rb") as file:
                for number, line in enumerate(lines(file, _LONGEST_LINE), 1):
                    self._add(number, line)
        except OSError:
            return

    def _add(self, number: int, line: bytes) -> None:
        row = read_object(line)
        file = row.get("file") if row is not None else None
        if isinstance(file, str):
            name = os.path.normpath(file).replace(os.sep, "/").encode("utf-8", "backslashreplace")
            if not self._rows.add([(name, line.decode("utf-8-sig"))]):
                self._refuse(number, "a second line of the listing for a file", name.decode())
        elif line.strip():
            self._refuse(number, "a line of the listing is not read", "")

    def _refuse(self, number: int, reason: str, file: str) -> None:
        self._bad.add([(f"{number:012}".encode(), json.dumps((reason, file)))])


def about(path: str, name: str, listing: Listing, within: str | None = None) -> About:
    """The listing wins over sidecars."""
    row = listing.row(name)
    told, notes = _sidecar(path, within)
    beside = told.pop("caption", None)
    caption, more = _text(row.get("caption")) or _text(beside), _not_used(row, beside)
    if caption is None:
        caption, unread = _caption(path, within)
        more += unread
    listed = row.get("metadata")
    metadata, odd = carried({**told, **(listed if isinstance(listed, dict) else {})})
    kept, odd_caption = carried({"caption": caption} if caption else {})
    return About(_id(row) or name, {**kept, **metadata, "file": name}, notes + more + odd + odd_caption)


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _id(row: Json) -> str | None:
    given = _text(row.get("id"))
    return given if given and is_text(given) else None


def _not_used(row: Json, beside: object) -> tuple[str, ...]:
    """Notes about what the listing says, and the caption of the sidecar `beside`, that is of another kind."""
    odd = {
        f"not a text: the id in {LISTING}": row.get("id") is not None and _id(row) is None,
        f"not a text: the caption in {LISTING}": not isinstance(row.get("caption"), str | None),
        "not a text: the caption in the sidecar": not isinstance(beside, str | None),
        f"not an object: the metadata in {LISTING}": not isinstance(row.get("metadata"), dict | None),
    }
    return tuple(note for note, is_odd in odd.items() if is_odd)


def _beside(path: str, suffix: str) -> str | None:
    """`a.jpg.json`, or `a.json`."""
    names = (path + suffix, os.path.splitext(path)[0] + suffix)
    return next((name for name in names if os.path.isfile(name)), None)


def _sidecar(path: str, within: str | None) -> tuple[Json, tuple[str, ...]]:
    """{"caption", "metadata": {…}} or the metadata itself."""
    found = _beside(path, ".json")
    if found is None:
        return {}, ()
    told = read_object(_content(found, within) or b"")
    if told is None:
        return {}, (f"sidecar not read: {readable(os.path.basename(found))}",)
    inner = told.pop("metadata", None)
    return {**told, **inner} if isinstance(inner, dict) else told, ()


def _caption(path: str, within: str | None) -> tuple[str | None, tuple[str, ...]]:
    found = _beside(path, ".txt")
    if found is None:
        return None, ()
    text = caption_of(_content(found, within))
    return text, () if text is not None else (f"caption not read: {readable(os.path.basename(found))}",)


def caption_of(content: bytes | None) -> str | None:
    """None for what is no UTF-8."""
    try:
        return None if content is None else content.decode("utf-8-sig").strip()
    except UnicodeDecodeError:
        return None


def _content(path: str, within: str | None) -> bytes | None:
    """None for what can't be read, is too long, or lies outside."""
    if within is not None and not is_within(path, within):
        return None
    try:
        with open(path, "rb") as file:
            content = file.read(MOST_BYTES + 1)
    except OSError:
        return None
    return content if len(content) <= MOST_BYTES else None
