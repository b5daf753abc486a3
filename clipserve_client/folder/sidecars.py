"""What stands beside pictures: `gallery.jsonl` for the folder, `NAME.json` and `NAME.txt` for one picture."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from clipserve_client.folder.walking import LISTING, readable

Json = dict[str, Any]
_MOST_BYTES = 256 * 1024  # of a sidecar


@dataclass(frozen=True)
class About:
    """Of one picture: its id in the collection, its metadata, and what could not be read about it."""

    id: str
    metadata: Json
    notes: tuple[str, ...] = ()


@dataclass
class Listing:
    """`gallery.jsonl`, if there is one: a line is {"id", "file", "caption", "metadata"}; only `file` is needed."""

    rows: dict[str, Json] = field(default_factory=dict)  # by file
    bad_lines: list[int] = field(default_factory=list)

    @classmethod
    def read(cls, root: str | os.PathLike[str]) -> Listing:
        listing = cls()
        try:
            with open(os.path.join(root, LISTING), encoding="utf-8", errors="replace") as lines:
                for number, line in enumerate(lines, 1):
                    listing._add(number, line)
        except OSError:
            return listing
        return listing

    def _add(self, number: int, line: str) -> None:
        row = _object(line)
        if row is not None and isinstance(row.get("file"), str):
            self.rows[os.path.normpath(row["file"]).replace(os.sep, "/")] = row
        elif line.strip():
            self.bad_lines.append(number)

    def missing(self, names: set[str]) -> Iterator[str]:
        """Files that are listed, and not among the folder's."""
        return (name for name in self.rows if name not in names)


def about(path: str, name: str, listing: Listing, prefix: str) -> About:
    """The listing wins over sidecars."""
    row = listing.rows.get(name, {})
    told, notes = _sidecar(path)
    caption = row.get("caption") or told.pop("caption", None) or _caption(path)
    metadata = {"file": name, **({"caption": caption} if isinstance(caption, str) else {}), **told}
    listed = row.get("metadata")
    given = row.get("id")
    return About(
        prefix + (given if isinstance(given, str) and given else name),
        metadata | (listed if isinstance(listed, dict) else {}),
        notes,
    )


def _beside(path: str, suffix: str) -> str | None:
    """`a.jpg.json`, or `a.json`."""
    names = (path + suffix, os.path.splitext(path)[0] + suffix)
    return next((name for name in names if os.path.isfile(name)), None)


def _sidecar(path: str) -> tuple[Json, tuple[str, ...]]:
    """{"caption", "metadata": {…}} or the metadata itself."""
    found = _beside(path, ".json")
    if found is None:
        return {}, ()
    told = _object(_text(found) or "")
    if told is None:
        return {}, (f"sidecar not read: {readable(os.path.basename(found))}",)
    inner = told.pop("metadata", None)
    return {**told, **inner} if isinstance(inner, dict) else told, ()


def _caption(path: str) -> str | None:
    found = _beside(path, ".txt")
    text = _text(found) if found is not None else None
    return text.strip() or None if text else None


def _text(path: str) -> str | None:
    try:
        with open(path, "rb") as file:
            content = file.read(_MOST_BYTES + 1)
        return content.decode("utf-8-sig") if len(content) <= _MOST_BYTES else None
    except (OSError, UnicodeDecodeError):
        return None


def _object(text: str) -> Json | None:
    """A JSON object whose numbers JSON can hold."""
    try:
        told = json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return None
    return told if isinstance(told, dict) else None


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is no number in JSON")
