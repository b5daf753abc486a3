"""What stands beside pictures: `gallery.jsonl` for the folder, `NAME.json` and `NAME.txt` for one picture."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
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


Beside = Callable[[str], tuple[str, bytes | None] | None]
"""".json" or ".txt" → the sidecar's name and its content, None for one that can't be read; None without one."""


def about(path: str, name: str, listing: Listing, within: str | None = None) -> About:
    """Of a picture's file. The listing wins over sidecars."""
    return about_of(name, listing, lambda suffix: _beside(path, suffix, within))


def about_of(name: str, listing: Listing, beside_it: Beside) -> About:
    """Of a picture wherever it lies."""
    row = listing.row(name)
    told, notes = _sidecar(beside_it)
    beside = told.pop("caption", None)
    caption, more = _text(row.get("caption")) or _text(beside), _not_used(row, beside)
    if caption is None:
        caption, unread = _caption(beside_it)
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


def names_beside(path: str, suffix: str) -> tuple[str, str]:
    """`a.jpg.json`, or `a.json`: the first one that is there counts."""
    return path + suffix, os.path.splitext(path)[0] + suffix


def _beside(path: str, suffix: str, within: str | None) -> tuple[str, bytes | None] | None:
    found = next((name for name in names_beside(path, suffix) if os.path.isfile(name)), None)
    return None if found is None else (found, _content(found, within))


def _sidecar(beside_it: Beside) -> tuple[Json, tuple[str, ...]]:
    """{"caption", "metadata": {…}} or the metadata itself."""
    found = beside_it(".json")
    if found is None:
        return {}, ()
    told = read_object(found[1] or b"")
    if told is None:
        return {}, (f"sidecar not read: {readable(os.path.basename(found[0]))}",)
    inner = told.pop("metadata", None)
    return {**told, **inner} if isinstance(inner, dict) else told, ()


def _caption(beside_it: Beside) -> tuple[str | None, tuple[str, ...]]:
    found = beside_it(".txt")
    if found is None:
        return None, ()
    text = caption_of(found[1])
    return text, () if text is not None else (f"caption not read: {readable(os.path.basename(found[0]))}",)


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
