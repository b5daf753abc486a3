"""A YAML file as plain values, each with its line. What YAML would take in silence is refused in one line.

Refused are keys given twice (YAML takes the last), anchors (a short file may mean gigabytes), tags, dates, and keys
that are no words, such as `on`, which YAML takes for true.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from clip_core.old_names.taking import told_as

Place = tuple[str | int, ...]
"""The way to a value: `("gateway", "max_inputs")`, `("models", 0, "name")`."""

_MOST_BYTES = 256 * 1024
_MOST_DEPTH = 8
_ALIASES = "anchors and aliases (& and *) are not read: write it out, or put it in quotes"
_SCALARS = {f"tag:yaml.org,2002:{name}" for name in ("null", "bool", "int", "float", "str")}
_PLAIN = {"tag:yaml.org,2002:map", "tag:yaml.org,2002:seq", *_SCALARS}


class ConfigError(Exception):
    """What is wrong with a configuration: a line for each fault."""

    def __init__(self, *faults: str) -> None:
        super().__init__("\n".join(faults))
        self.faults = faults


@dataclass(frozen=True)
class Document:
    """`lines`: the line of each value that the file gives; `old`: the old name by which it gives one."""

    path: Path
    values: dict[str, Any] = field(default_factory=dict)
    lines: dict[Place, int] = field(default_factory=dict)
    old: dict[Place, str] = field(default_factory=dict)

    def shown(self, place: Place) -> str:
        """`gateway.max_inputs`, and as what it is given."""
        ends = (place[:end] for end in range(len(place), 0, -1))
        old = next((self.old[each] for each in ends if each in self.old), None)
        return dotted(place) if old is None else told_as(dotted(place), old)

    def where(self, place: Place) -> str:
        """`clipserve.yaml:12`: the line of the value, or of what it should stand in."""
        while place and place not in self.lines:
            place = place[:-1]
        return f"{self.path}:{self.lines.get(place, 1)}"


def read(path: Path) -> Document:
    """Raises ConfigError, with a line for each fault."""
    text = _text(path)
    try:
        _check_events(path, text)
        node = yaml.compose(text, yaml.SafeLoader)
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise ConfigError(f"{path}:{line}: the character {error.character!r} is not allowed") from error
    except yaml.MarkedYAMLError as error:
        raise ConfigError(_broken(path, error)) from error
    values = _Values(path)
    root = {} if node is None else values.of(node, ())
    if not isinstance(root, dict):
        values.faults.append(f"{path}:1: a configuration has sections, such as `gateway:`")
    if values.faults:
        raise ConfigError(*values.faults)
    return Document(path, root or {}, values.lines)


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            raw = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{path}: can't be read: {error.strerror}") from error
    if len(raw) > _MOST_BYTES:
        raise ConfigError(f"{path}: a configuration has at most {_MOST_BYTES // 1024} KB")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{path}:{line}: is not UTF-8: save it as UTF-8") from error


def _check_events(path: Path, text: str) -> None:
    """Before anything is built of them: what makes much of little."""
    depth = 0
    for event in yaml.parse(text, yaml.SafeLoader):
        line = event.start_mark.line + 1 if event.start_mark else 1
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise ConfigError(f"{path}:{line}: {_ALIASES}")
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > _MOST_DEPTH:
            raise ConfigError(f"{path}:{line}: is nested more than {_MOST_DEPTH} levels deep")


def _broken(path: Path, error: yaml.MarkedYAMLError) -> str:
    mark = error.problem_mark or error.context_mark
    problem = " ".join(str(error.problem or error.context).split())
    if "'\\t'" in problem:
        problem = "a tab: indent with spaces"
    if "alias" in str(error.context) or "anchor" in str(error.context):
        problem = _ALIASES
    return f"{path}:{mark.line + 1 if mark else 1}: {problem}"


class _Values:
    """Nodes → plain values; what is wrong with them is collected."""

    def __init__(self, path: Path) -> None:
        self.lines: dict[Place, int] = {}
        self.faults: list[str] = []
        self._path = path

    def of(self, node: yaml.Node, place: Place) -> Any:
        self.lines.setdefault(place, node.start_mark.line + 1)
        if node.tag not in _PLAIN:
            self._fault(node, place, f"{_words(node.tag)} is not read: put the value in quotes to have it as text")
            return None
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, place)
        if isinstance(node, yaml.SequenceNode):
            return [self.of(each, (*place, number)) for number, each in enumerate(node.value)]
        return self._scalar(node, place)

    def _mapping(self, node: yaml.MappingNode, place: Place) -> dict[str, Any]:
        made: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = key_node.value
            if not isinstance(key, str) or key_node.tag != "tag:yaml.org,2002:str":
                self._fault(key_node, place, f"{key if isinstance(key, str) else 'this'!r} is no key: keys are words")
            elif key in made:
                first = self.lines[(*place, key)]
                self._fault(key_node, (*place, key), f"is given twice, first in line {first}: remove one")
            else:
                self.lines[(*place, key)] = key_node.start_mark.line + 1
                made[key] = self.of(value_node, (*place, key))
        return made

    def _scalar(self, node: yaml.Node, place: Place) -> Any:
        try:
            value = yaml.constructor.SafeConstructor().construct_object(node)
        except (yaml.YAMLError, ValueError):
            return self._fault(node, place, f"{str(node.value)[:40]!r} can't be read")
        if isinstance(value, float) and not math.isfinite(value):
            return self._fault(node, place, "must be a finite number")
        return value

    def _fault(self, node: yaml.Node, place: Place, text: str) -> None:
        name = f"{dotted(place)}: " if place else ""
        self.faults.append(f"{self._path}:{node.start_mark.line + 1}: {name}{text}")


def dotted(place: Place) -> str:
    """`("models", 0, "name")` → `models[0].name`."""
    parts = (f"[{part}]" if isinstance(part, int) else f".{part}" for part in place)
    return "".join(parts).removeprefix(".")


def _words(tag: str) -> str:
    kind = tag.removeprefix("tag:yaml.org,2002:")
    return "a date" if kind == "timestamp" else f"the tag {kind!r}"
