"""Items whose picture is gone from the source: removed, unless so many are gone that the source itself may be."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from scripts.sync.present import Present

_FEW = 10  # may always go, where something is left and removals are wanted at all


class Lost(NamedTuple):
    id: str
    safe: bool  # its picture is there under another name


class Unreadable:
    """Folders and links of the source that could not be read: what was below them is not gone."""

    def __init__(self) -> None:
        self._names: set[str] = set()

    def add(self, name: str) -> None:
        self._names.add(name.rstrip("/"))

    def holds(self, file: str) -> bool:
        if "." in self._names:
            return True
        parts = file.split("/")
        return bool(self._names) and any("/".join(parts[:end]) in self._names for end in range(1, len(parts) + 1))


def lost_items(present: Present, unreadable: Unreadable) -> Iterator[Lost]:
    for item_id, file, content in present.lost():
        if not unreadable.holds(file):
            yield Lost(item_id, present.has_twin(content))


def refusal(gone: int, known: int, listed: int, at_most: float, allow_empty: bool) -> str:
    """Why `gone` of `known` items are not removed; "" where they are. `at_most` is a share from 0 to 1."""
    if not gone or allow_empty:
        return ""
    if not listed:
        return f"the source is empty, and {known} items came from it: with --allow-empty they are removed"
    if at_most == 0 or (gone > _FEW and gone > at_most * known):
        return (
            f"{gone} of {known} items are gone from the source, more than --max-delete-ratio {at_most:g} lets go: "
            "is all of it there? Say --max-delete-ratio 1 to remove them"
        )
    return ""
