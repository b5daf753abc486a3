"""Old names of keys in a configuration file: read as the new ones, with a notice each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from clip_core.old_names.table import OLD_ENDPOINT_KEYS, OLD_SETTINGS
from clip_core.old_names.taking import with_new_names
from scripts.config.keys import PREFIXES
from scripts.config.yaml_file import Document, Place, dotted

_FILE = "_file"  # behind the name of a secret's setting


def with_new_keys(document: Document) -> Document:
    """What is given by both names is as its new one says."""
    moved = dict(_moved(document))
    values = _renamed(document.values, (), {place: str(new[-1]) for place, new in moved.items()})
    lines = {place: line for place, line in document.lines.items() if place not in moved}
    kept = {new: document.lines[old] for old, new in moved.items() if old in document.lines}
    old_names = {new: str(old[-1]) for old, new in moved.items() if new not in lines}
    return Document(document.path, values, {**kept, **lines}, old_names)


def notices(document: Document) -> list[str]:
    """Of the document as it was read."""
    return [f"{document.where(old)}: {dotted(old)} is an old name: write {new[-1]}" for old, new in _moved(document)]


def _moved(document: Document) -> Iterator[tuple[Place, Place]]:
    """The place of each old key, and that of its new name."""
    for place in document.lines:
        old = _old_names(place[:-1])
        if place and isinstance(name := place[-1], str) and name in old:
            yield place, (*place[:-1], old[name])


def _old_names(above: Place) -> Mapping[str, str]:
    """Old key → key, of what stands there."""
    if len(above) > 1 and above[-2] == "batching":
        return OLD_ENDPOINT_KEYS
    names = OLD_SETTINGS.get(PREFIXES.get(str(above[0]), ""), {}) if len(above) == 1 else {}
    return {**names, **{f"{old}{_FILE}": f"{new}{_FILE}" for old, new in names.items()}}


def _renamed(value: Any, place: Place, new: Mapping[Place, str]) -> Any:
    if isinstance(value, list):
        return [_renamed(each, (*place, number), new) for number, each in enumerate(value)]
    if not isinstance(value, dict):
        return value
    inner = {key: _renamed(each, (*place, key), new) for key, each in value.items()}
    return with_new_names(inner, {key: new[(*place, key)] for key in value if (*place, key) in new})
